"use strict";
// The architecture drawing: levels down, stages across, edges by gate, nodes with their operations.
// Geometry and colours come from the Python drawing; coordinates are hundredths of an inch.

const FONT = "'DejaVu Sans', Verdana, Geneva, sans-serif";
const POINT = 100 / 72;
const ROLE_TEXTS = {
  kept: "kept edge",
  pruned: "pruned edge",
  restored: "edge kept to reach the output",
  dead: "open edge that leads nowhere",
};

function rampColor(ramp, share) {
  return ramp[Math.round(Math.max(0, Math.min(1, share)) * (ramp.length - 1))];
}

// Colour and width (in points) of an edge; both grow with the gate.
function edgeStyle(look, role, gate, tau) {
  if (role === "dead") return [look.dead, 0.6 + 1.8 * gate];
  if (role === "pruned") return [rampColor(look.pruned, tau > 0 ? gate / tau : 0), 0.6 + 1.4 * gate];
  return [rampColor(look.kept, tau < 1 ? (gate - tau) / (1 - tau) : 1), 0.6 + 3 * gate];
}

function drawnText(x, y, text, { points = 9, color, anchor = "start", bold = false, rotate = null } = {}) {
  return svg("text", {
    x, y: y + points * POINT * 0.36, "font-size": (points * POINT).toFixed(2), fill: color, "text-anchor": anchor,
    "font-weight": bold ? "bold" : null, transform: rotate === null ? null : `rotate(${rotate} ${x} ${y})`,
  }, text);
}

function kindSign(kind, x, y, color) {
  if (kind === "normal") return svg("circle", { cx: x, cy: y, r: 5.25, fill: color });
  const tip = kind === "reduction" ? 5.5 : -5.5;
  return svg("polygon", { points: `${x},${y + tip} ${x - 6.3},${y - tip} ${x + 6.3},${y - tip}`, fill: color });
}

function pathOf(points, cut) {
  const [p0, p1, p2, p3] = points;
  const [dx, dy] = direction(points);
  return `M${p0}C${p1} ${p2[0] - dx * cut},${p2[1] - dy * cut} ${p3[0] - dx * cut},${p3[1] - dy * cut}`;
}

function pointOn([p0, p1, p2, p3], t) {
  const s = 1 - t;
  return [0, 1].map((i) => s ** 3 * p0[i] + 3 * s * s * t * p1[i] + 3 * s * t * t * p2[i] + t ** 3 * p3[i]);
}

function direction([, , p2, p3]) {
  const size = Math.hypot(p3[0] - p2[0], p3[1] - p2[1]);
  return [(p3[0] - p2[0]) / size, (p3[1] - p2[1]) / size];
}

// run: one search; epoch: index into run.epochs; picked: names of edges to mark; onPick: called with an edge's name.
function drawArchitecture(data, run, epoch, tau, { picked = new Map(), onPick = null, title = "" } = {}) {
  const { look } = data;
  const grid = data.geometry[`${run.levels}-${run.spatialDims}`];
  const gates = run.gates[epoch];
  const state = keepEdges(grid, gates, tau);
  const live = liveNodes(grid, state.kept);
  const numKept = state.kept.filter(Boolean).length;
  const counts = `${numKept} of ${grid.edges.length} edges and ${live.filter(Boolean).length} of ${grid.nodes.length} nodes kept`;
  const root = svgPicture(grid.width, grid.height, `Architecture at threshold ${tau.toFixed(2)}: ${counts}`);
  root.setAttribute("font-family", FONT);
  root.style.maxWidth = `${(grid.width * 0.085).toFixed(1)}rem`; // small grids would become gigantic
  root.append(svg("rect", { width: grid.width, height: grid.height, fill: "white" }));
  drawGuides(root, grid, look);
  const order = grid.edges.map((_, e) => e).sort((a, b) =>
    Number(state.kept[a]) - Number(state.kept[b]) || gates[a] - gates[b]);
  for (const e of order) root.append(drawEdge(grid, look, run, state, gates, e, tau, onPick));
  for (const [name, color] of picked) root.append(drawPick(grid, state, name, color));
  grid.nodes.forEach((_, node) => root.append(drawCard(data, grid, run, epoch, state, node, live[node])));
  drawEnds(root, grid, look, run.spatialDims);
  root.append(drawnText(grid.width - 15, 24, counts, { points: 8, color: look.paleInk, anchor: "end" }));
  root.append(drawnText(28, 24, title, { points: 14, color: look.ink, bold: true }));
  drawLegend(root, grid, look, state, tau);
  return { root, state, counts };
}

function drawEdge(grid, look, run, state, gates, e, tau, onPick) {
  const role = edgeRole(state, e);
  const name = grid.edges[e];
  const [color, width] = edgeStyle(look, role, gates[e], tau);
  const points = grid.curves[e];
  const group = svg("g", { class: "edge", "data-edge": name, "data-role": role });
  const faint = role === "pruned" || role === "dead";
  const d = pathOf(points, faint ? 0 : grid.arrow);
  const line = (stroke, points_, extra) => svg("path", { d, fill: "none", stroke, "stroke-width": (points_ * POINT).toFixed(2), ...extra });
  if (!faint) group.append(line("white", width + 1.8));
  group.append(line(color, width, { "stroke-dasharray": role === "restored" ? `${3 * width * POINT} ${1.2 * width * POINT}` : null }));
  if (!faint) {
    const [dx, dy] = direction(points);
    const [x, y] = points[3];
    const half = 2.8 + 0.7 * width;
    const bx = x - dx * grid.arrow;
    const by = y - dy * grid.arrow;
    group.append(svg("polygon", { fill: color, points: `${x},${y} ${bx - dy * half},${by + dx * half} ${bx + dy * half},${by - dx * half}` }));
  }
  const target = svg("path", { d, fill: "none", stroke: "transparent", "stroke-width": 11, class: "target" });
  hover(target, `${name}: gate ${gates[e].toFixed(3)}, ${ROLE_TEXTS[role]}${onPick ? " (click: show its curve)" : ""}`);
  if (onPick) target.addEventListener("click", () => onPick(name));
  group.append(target);
  return group;
}

// A dot in the colour of the edge's curve: the line's own colour and thickness belong to the gate. It lies where edges
// are apart: near the source in the decoder, at the apex of the encoder's bows.
function drawPick(grid, state, name, color) {
  const e = grid.edges.indexOf(name);
  const points = grid.curves[e];
  const [x, y] = pointOn(points, grid.stages[grid.targets[e]] ? 0.16 : 0.5);
  const faint = ["pruned", "dead"].includes(edgeRole(state, e)); // hardly to be seen without these dots
  return svg("g", { class: "picked", "data-edge": name },
    faint && svg("path", { d: pathOf(points, 0), fill: "none", stroke: color, "stroke-width": 1.6, "stroke-dasharray": "0.1 5", "stroke-linecap": "round" }),
    svg("circle", { cx: x, cy: y, r: 6, fill: color, stroke: "white", "stroke-width": 1.5 }));
}

function drawCard(data, grid, run, epoch, state, node, isLive) {
  const { look } = data;
  const [x, y, width, height] = grid.cards[node];
  const group = svg("g", { class: "node", "data-node": grid.nodes[node], "data-live": String(isLive) });
  const ink = isLive ? look.ink : look.deadInk;
  group.append(svg("rect", { x, y, width, height, rx: 7, fill: isLive ? "#ffffff" : "#f1f2f4", stroke: isLive ? "#54677c" : "#d3d7dc", "stroke-width": 1.5 }));
  group.append(drawnText(x + 9, y + 13, grid.nodes[node], { color: ink, bold: true }));
  const expanded = grid.edges.some((_, e) => grid.targets[e] === node && grid.coarse[e] && state.kept[e]);
  const rows = grid.layers.map((name, i) => ({ name, i })).filter(({ name, i }) => grid.layerNodes[i] === node && run.layers[name]);
  rows.forEach(({ name, i }, position) => {
    const { operations, weights } = run.layers[name];
    const kind = grid.layerKinds[i];
    const best = weights ? argmax(weights[epoch]) : 0;
    const weight = weights ? weights[epoch][best] : null;
    const built = isLive && (kind !== "expansion" || expanded);
    const top = y + 26 + (rows.length === 1 ? grid.row / 2 + 1.5 : 0) + position * (grid.row + 3);
    const middle = top + grid.row / 2;
    const tint = built ? look.tints[kind] : "#e4e7ea";
    const color = built ? look.ink : look.deadInk;
    const full = width - 10;
    if (weight !== null) group.append(svg("rect", { x: x + 5, y: top, width: full, height: grid.row, rx: 5, fill: "#f6f7f9" }));
    group.append(svg("rect", { x: x + 5, y: top, width: weight === null ? full : Math.max(10, full * weight), height: grid.row, rx: 5, fill: tint }));
    group.append(kindSign(kind, x + 15, middle, built ? look.signs[kind] : "#a9b0b8"));
    group.append(drawnText(x + 25, middle, data.titles[run.spatialDims][operations[best]], { color }));
    if (weight !== null)
      group.append(drawnText(x + width - 9, middle, Math.min(weight, 1).toFixed(2).replace(/^0/, ""), { points: 8, color, anchor: "end" }));
  });
  return group;
}

function drawGuides(root, grid, look) {
  for (let level = 0; level < grid.levels; level++) {
    const nodes = grid.nodes.map((_, n) => n).filter((n) => grid.nodeLevels[n] === level);
    const [x, y, width, height] = grid.cards[nodes[nodes.length - 1]];
    root.append(svg("rect", { x: 28, y: y - 11, width: x + width + 12 - 28, height: height + 22, rx: 10, fill: look.guide }));
    root.append(drawnText(16, y + height / 2, `level ${level}`, { points: 8, color: look.paleInk, anchor: "middle", rotate: -90 }));
  }
  for (let stage = 0; stage < grid.levels; stage++) {
    const top = grid.nodes.findIndex((_, n) => grid.stages[n] === stage);
    const [x, y, width] = grid.cards[top];
    const name = stage === 0 ? "encoder: stage 0" : stage === 1 ? "decoder: stage 1" : `stage ${stage}`;
    root.append(drawnText(x + width / 2, y - 22, name, { points: 8, color: look.paleInk, anchor: "middle" }));
  }
}

function drawEnds(root, grid, look, dims) {
  const arrow = (x0, x1, y) => root.append(
    svg("path", { d: `M${x0},${y}H${x1 - grid.arrow}`, stroke: look.ink, "stroke-width": 2 * POINT }),
    svg("polygon", { points: `${x1},${y} ${x1 - grid.arrow},${y - 5} ${x1 - grid.arrow},${y + 5}`, fill: look.ink }));
  const icon = (x, y, colors, text) => {
    for (let depth = dims === 3 ? 2 : 0; depth >= 0; depth--)
      root.append(svg("rect", { x: x + 3.5 * depth, y: y - 20 - 3.5 * depth, width: 40, height: 40, fill: colors[0], stroke: "white", "stroke-width": 1.1 }));
    root.append(svg("ellipse", { cx: x + 20, cy: y, rx: 14.8, ry: 12, fill: colors[1], transform: `rotate(-20 ${x + 20} ${y})` }));
    root.append(svg("ellipse", { cx: x + 25, cy: y - 2, rx: 5.2, ry: 4, fill: colors[2] }));
    root.append(drawnText(x + 20, y + 30, text, { points: 8, color: look.ink, anchor: "middle" }));
  };
  const [x0, y0] = grid.cards[grid.input];
  icon(40, y0 + 14, ["#454c55", "#8d959f", "#c9ced4"], "image");
  arrow(89, x0, y0 + 14);
  const [x1, y1, width, height] = grid.cards[grid.output];
  const middle = y1 + height / 2;
  arrow(x1 + width, x1 + width + 31, middle);
  icon(x1 + width + 36, middle, ["#e9edf2", "#86b6e0", "#e0912f"], "segmentation");
}

function drawLegend(root, grid, look, state, tau) {
  const [x, y, sideBySide] = grid.legend;
  const line = 21;
  const small = { points: 8, color: look.ink };
  let at = sideBySide ? y : y + 5 * line + 10;
  const wedge = 195;
  for (let i = 0; i < 100; i++) {
    const gate = (i + 0.5) / 100;
    const [color, width] = edgeStyle(look, gate >= tau ? "kept" : "pruned", gate, tau);
    root.append(svg("rect", { x: x + (i * wedge) / 100, y: at + 27 - width * POINT * 0.95, width: wedge / 100 + 0.4, height: 2 * width * POINT * 0.95, fill: color }));
  }
  const mark = x + tau * wedge;
  root.append(svg("path", { d: `M${mark},${at + 17}V${at + 37}`, stroke: look.ink, "stroke-width": 1.4 }));
  root.append(drawnText(x, at + 8, "gate of an edge", small));
  root.append(drawnText(x, at + 46, "0", { points: 8, color: look.paleInk }));
  root.append(drawnText(x + wedge, at + 46, "1", { points: 8, color: look.paleInk, anchor: "middle" }));
  root.append(drawnText(Math.max(x + 40, Math.min(mark, x + wedge - 40)), at + 46, `τ = ${tau.toFixed(2)}`, { ...small, anchor: "middle" }));
  at += 60;
  const present = new Set(state.kept.map((_, e) => edgeRole(state, e)));
  for (const role of Object.keys(ROLE_TEXTS)) {
    if (!["kept", "pruned"].includes(role) && !present.has(role)) continue;
    const gate = ["kept", "dead"].includes(role) ? (1 + tau) / 2 : tau / 2;
    const [color, width] = edgeStyle(look, role, gate, tau);
    root.append(svg("path", { d: `M${x},${at + 10}h42`, stroke: color, "stroke-width": width * POINT, "stroke-dasharray": role === "restored" ? "8 3.5" : null }));
    root.append(drawnText(x + 52, at + 10, ROLE_TEXTS[role], small));
    at += line;
  }
  const right = sideBySide ? x + 305 : x;
  let row = y;
  for (const kind of ["reduction", "expansion", "normal"]) {
    root.append(svg("rect", { x: right, y: row + 2, width: 42, height: 17, rx: 5, fill: look.tints[kind] }));
    root.append(kindSign(kind, right + 21, row + 10.5, look.signs[kind]));
    root.append(drawnText(right + 52, row + 10.5, `${kind} layer`, small));
    row += line;
  }
  root.append(drawnText(right + 38, row + 10.5, ".42", { ...small, anchor: "end" }));
  root.append(drawnText(right + 52, row + 10.5, "its weight in the mixture", small));
  row += line;
  root.append(svg("rect", { x: right, y: row + 2, width: 42, height: 17, rx: 5, fill: "#f1f2f4", stroke: "#d3d7dc" }));
  root.append(drawnText(right + 52, row + 10.5, "dead node, unused layer", small));
}
