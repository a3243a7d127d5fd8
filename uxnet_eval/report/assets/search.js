"use strict";
// Panels of one search: drawing with its sliders, gates, weights of the operations, learning curves.

// What is shown now; change it and call refresh().
const shown = { run: null, other: null, epoch: 0, tau: 0.75, picked: [] };
const views = [];

function refresh() {
  for (const view of views) view();
}

function togglePick(name) {
  const at = shown.picked.indexOf(name);
  if (at >= 0) shown.picked.splice(at, 1);
  else shown.picked.push(name);
  refresh();
}

function pickedColors() {
  return new Map(shown.picked.map((name, i) => [name, seriesColor(i)]));
}

// Shown at first: the edge that is surest to stay, the one surest to go, and two closest to the threshold.
function tellingEdges(data, run) {
  const { edges } = data.geometry[`${run.levels}-${run.spatialDims}`];
  const last = run.gates.at(-1);
  const searched = edges.map((_, e) => e).filter((e) => run.searchedEdges.includes(edges[e]));
  const by = (key) => searched.slice().sort((a, b) => key(a) - key(b));
  const found = [by((e) => -last[e])[0], by((e) => last[e])[0], ...by((e) => Math.abs(last[e] - run.pruneThreshold)).slice(0, 2)];
  return [...new Set(found.filter((e) => e !== undefined).map((e) => edges[e]))];
}

function selectRun(data, run) {
  shown.run = run;
  shown.epoch = run.epochs.length - 1;
  shown.tau = run.pruneThreshold;
  const { edges } = data.geometry[`${run.levels}-${run.spatialDims}`];
  shown.picked = shown.picked.filter((name) => edges.includes(name));
  if (!shown.picked.length) shown.picked = tellingEdges(data, run);
  if (shown.other && (shown.other === run || shown.other.levels !== run.levels)) shown.other = null;
}

function controls(data, runs) {
  const epoch = el("input", { type: "range", id: "epoch", min: 0, step: 1, oninput: () => {
    shown.epoch = Number(epoch.value);
    refresh();
  } });
  const tau = el("input", { type: "range", id: "tau", min: 0.01, max: 0.99, step: 0.01, oninput: () => {
    shown.tau = Number(tau.value);
    refresh();
  } });
  const epochText = el("output", { for: "epoch", id: "epoch-text" });
  const tauText = el("output", { for: "tau", id: "tau-text" });
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  };
  const play = el("button", { type: "button", id: "play", onclick: () => {
    if (timer) return stop();
    play.textContent = "Stop";
    if (shown.epoch >= shown.run.epochs.length - 1) shown.epoch = 0;
    refresh();
    timer = setInterval(() => {
      if (shown.epoch >= shown.run.epochs.length - 1) return stop();
      shown.epoch += 1;
      refresh();
    }, 350);
  } }, "Play");
  const reset = el("button", { type: "button", onclick: () => {
    shown.tau = shown.run.pruneThreshold;
    shown.epoch = shown.run.epochs.length - 1;
    refresh();
  } }, "Reset");
  const choose = runs.length > 1 && el("label", null, "Search ", el("select", { id: "run", onchange: (event) => {
    stop();
    selectRun(data, runs[Number(event.target.value)]);
    refresh();
  } }, runs.map((run, i) => el("option", { value: i }, run.name))));
  views.push(() => {
    const last = shown.run.epochs.length - 1;
    epoch.max = last;
    epoch.value = shown.epoch;
    epoch.disabled = last === 0;
    play.disabled = last === 0;
    tau.value = shown.tau;
    epochText.textContent = `${shown.run.epochs[shown.epoch]} of ${shown.run.epochs[last]}`;
    tauText.textContent = shown.tau.toFixed(2);
    epoch.setAttribute("aria-valuetext", `epoch ${epochText.textContent}`);
    tau.setAttribute("aria-valuetext", `threshold ${tauText.textContent}`);
    if (choose) choose.querySelector("select").value = runs.indexOf(shown.run);
  });
  return el("div", { class: "controls", role: "group", "aria-label": "What the pictures show" },
    choose,
    el("span", { class: "slider" }, el("label", { for: "epoch" }, "Epoch"), epoch, epochText, play),
    el("span", { class: "slider" }, el("label", { for: "tau" }, "Threshold τ"), tau, tauText), reset);
}

function architecturePanel(data) {
  const host = el("div", { class: "drawing", id: "drawing" });
  const status = el("p", { class: "status", id: "drawing-status", "aria-live": "polite" });
  const save = el("button", { type: "button", onclick: () => {
    const text = new XMLSerializer().serializeToString(host.querySelector("svg"));
    const link = el("a", { download: `architecture-tau-${shown.tau.toFixed(2)}.svg`, href: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}` });
    link.click();
  } }, "Save this drawing (SVG)");
  views.push(() => {
    const { run, epoch, tau } = shown;
    const title = `${run.name}, epoch ${run.epochs[epoch]}`;
    const drawn = drawArchitecture(data, run, epoch, tau, { picked: pickedColors(), onPick: togglePick, title });
    host.replaceChildren(drawn.root);
    const { edges } = data.geometry[`${run.levels}-${run.spatialDims}`];
    const rescued = drawn.state.rescued.map((e) => edges[e]);
    const restored = rescued.map((name, i) => [i ? ", " : "", el("span", { class: "name" }, name)]);
    status.replaceChildren(`${drawn.counts} at τ = ${tau.toFixed(2)}.`);
    if (rescued.length)
      status.append(...[" No path of gates of at least τ reaches the output, so the widest one was restored: ", restored, "."].flat(2));
  });
  return section("architecture", "Architecture",
    el("p", { class: "hint" }, "What would be derived at this epoch and threshold. Click an edge to see its gate over time; a dot on it has the colour of its curve."), host, status, save);
}

function gatesPanel(data, runs) {
  const chart = lineChart({
    title: "Gates of the edges over the epochs", x: "epoch", y: "gate of the edge", yRange: [0, 1],
    series: () => {
      const { edges } = data.geometry[`${shown.run.levels}-${shown.run.spatialDims}`];
      const line = (run, e) => run.gates.map((gates, i) => [run.epochs[i], gates[e]]);
      const faint = edges.map((name, e) => ({ name, points: line(shown.run, e), color: "#c3c9d0", faint: true }));
      const picked = shown.picked.map((name, i) => ({ name, points: line(shown.run, edges.indexOf(name)), color: seriesColor(i), dash: seriesDash(i) }));
      const other = shown.other ? shown.picked.map((name, i) => ({
        name: `${name} *`, points: line(shown.other, edges.indexOf(name)), color: seriesColor(i), dash: "2 4", width: 1.8 })) : [];
      return [...faint.filter((each) => !shown.picked.includes(each.name)), ...picked, ...other];
    },
    levels: () => [{ y: shown.tau, text: `τ = ${shown.tau.toFixed(2)}` }],
    marker: () => shown.run.epochs[shown.epoch],
    onPick: (name) => togglePick(name.replace(" *", "")),
  });
  const list = el("div", { class: "edges" });
  const compare = runs.length > 1 && el("label", null, "Compare with ", el("select", { id: "other", onchange: (event) => {
    shown.other = event.target.value === "" ? null : runs[Number(event.target.value)];
    refresh();
  } }));
  let listed = null;
  views.push(() => {
    const geometry = data.geometry[`${shown.run.levels}-${shown.run.spatialDims}`];
    if (listed !== shown.run) {
      listed = shown.run;
      list.replaceChildren(...edgeList(geometry));
      if (compare) compare.querySelector("select").replaceChildren(el("option", { value: "" }, "no other search"),
        ...runs.map((run, i) => run !== shown.run && run.levels === shown.run.levels && el("option", { value: i }, run.name)).filter(Boolean));
    }
    if (compare) compare.querySelector("select").value = shown.other ? runs.indexOf(shown.other) : "";
    const colors = pickedColors();
    for (const box of list.querySelectorAll("input")) {
      box.checked = colors.has(box.value);
      box.parentElement.style.setProperty("--mark", colors.get(box.value) || "transparent");
      box.parentElement.querySelector("span").textContent = shown.run.gates[shown.epoch][geometry.edges.indexOf(box.value)].toFixed(2);
    }
    chart.redraw();
  });
  const fixed = el("p", { class: "hint" });
  views.push(() => {
    const count = data.geometry[`${shown.run.levels}-${shown.run.spatialDims}`].edges.length - shown.run.searchedEdges.length;
    fixed.textContent = (count ? `${plural(count, "edge")} of the grid were not searched: their gates stay at 0 or 1. ` : "") +
      (shown.other ? `Dotted, marked *: ${shown.other.name}.` : "");
  });
  return section("gates", "Gates of the edges", compare, chart.host, fixed,
    el("details", { open: true }, el("summary", null, "Choose edges (gate at the chosen epoch)"), list));
}

function edgeList(geometry) {
  const stages = new Map();
  geometry.edges.forEach((name, e) => {
    const stage = geometry.stages[geometry.targets[e]];
    if (!stages.has(stage)) stages.set(stage, []);
    stages.get(stage).push(name);
  });
  return [...stages].map(([stage, names]) => el("fieldset", null, el("legend", null, stage === 0 ? "encoder" : `into stage ${stage}`),
    names.map((name) => el("label", null, el("input", { type: "checkbox", value: name, onchange: () => togglePick(name) }), name, el("span", { class: "value" })))));
}

// Weights of the operations: one map for each kind of layer.
function weightsPanel(data) {
  const host = el("div", { class: "maps" });
  views.push(() => {
    const { run, epoch } = shown;
    const geometry = data.geometry[`${run.levels}-${run.spatialDims}`];
    const maps = ["normal", "reduction", "expansion"].map((kind) => {
      const layers = geometry.layers.filter((name, i) => geometry.layerKinds[i] === kind && run.layers[name]?.weights);
      if (!layers.length) return null;
      const operations = [...new Set(layers.flatMap((name) => run.layers[name].operations))];
      const rows = layers.map((name) => {
        const { operations: own, weights } = run.layers[name];
        const best = argmax(weights[epoch]);
        return [name.split("/")[0], ...operations.map((operation) => {
          const at = own.indexOf(operation);
          return at < 0 ? "" : weightCell(weights[epoch][at], at === best);
        })];
      });
      const titles = operations.map((operation) => data.titles[run.spatialDims][operation]);
      return el("div", { class: "map" }, table(`${kind} layers`, ["node", ...titles], rows));
    });
    host.replaceChildren(...maps.filter(Boolean));
    if (!host.children.length) host.append(el("p", null, "The operations of this search were fixed."));
  });
  return section("weights", "Weights of the operations",
    el("p", { class: "hint" }, "Softmax of alpha at the chosen epoch; the framed operation would be derived. Hardly different weights mean that the choice is close to chance."), host);
}

function weightCell(weight, isBest) {
  const share = Math.max(0, Math.min(1, weight));
  const mix = (low, high) => Math.round(low + (high - low) * share ** 0.7);
  const cell = el("span", { class: isBest ? "weight best" : "weight" }, weight.toFixed(2).replace(/^0/, ""));
  cell.style.background = `rgb(${mix(247, 8)},${mix(249, 64)},${mix(252, 129)})`;
  cell.style.color = share > 0.42 ? "white" : "#1d2733";
  return cell;
}

function curvesPanel() {
  const pairs = (run, key) => run.curves.epoch.map((epoch, i) => [epoch, run.curves[key][i]]).filter((point) => point[1] !== null);
  const marker = () => shown.run.epochs[shown.epoch];
  const charts = [
    ["Dice on the validation cases", lineChart({
      title: "Dice of the supernet and of the derived network over the epochs", x: "epoch", y: "mean Dice", marker, fromZero: true,
      series: () => [
        { name: "supernet", points: pairs(shown.run, "default"), color: COLORS[0] },
        { name: "derived", points: pairs(shown.run, "derived_dice"), color: COLORS[1], dash: "7 3" },
      ],
    })],
    ["Discretisation gap", lineChart({
      title: "Dice of the supernet minus that of the derived network", x: "epoch", y: "Dice of the supernet − derived", marker,
      fromZero: true, levels: () => [{ y: 0 }],
      series: () => [{ name: "gap", color: COLORS[2], points: shown.run.curves.epoch.map((epoch, i) => {
        const [all, derived] = [shown.run.curves.default[i], shown.run.curves.derived_dice[i]];
        return [epoch, all === null || derived === null ? null : all - derived];
      }).filter((point) => point[1] !== null) }],
    })],
    ["Losses", lineChart({
      title: "Losses of the two steps over the epochs", x: "epoch", y: "loss", marker, fromZero: true, empty: "no losses recorded",
      series: () => [
        { name: "weights", points: pairs(shown.run, "loss_weights"), color: COLORS[0] },
        { name: "architecture", points: pairs(shown.run, "loss_architecture"), color: COLORS[1], dash: "7 3" },
      ],
    })],
    ["Decisions", lineChart({
      title: "Share of decided gates and share of kept edges over the epochs", x: "epoch", y: "share", yRange: [0, 1], marker,
      series: () => {
        const geometry = shownGeometry();
        const searched = shown.run.searchedEdges.map((name) => geometry.edges.indexOf(name));
        return [
          { name: "gates decided", color: COLORS[0], points: shown.run.gates.map((gates, i) => [shown.run.epochs[i], decidedShare(searched.map((e) => gates[e]))]) },
          { name: "edges kept", color: COLORS[1], dash: "7 3", points: shown.run.gates.map((gates, i) =>
            [shown.run.epochs[i], keepEdges(geometry, gates, shown.tau).kept.filter(Boolean).length / gates.length]) },
        ];
      },
    })],
  ];
  views.push(() => charts.forEach(([, chart]) => chart.redraw()));
  const rows = el("div");
  views.push(() => {
    const { curves } = shown.run;
    rows.replaceChildren(table(null, ["epoch", "Dice", "derived Dice", "gap", "loss, weights", "loss, architecture"],
      curves.epoch.map((epoch, i) => [epoch, score(curves.default[i]), score(curves.derived_dice[i]),
        curves.default[i] === null || curves.derived_dice[i] === null ? "–" : score(curves.default[i] - curves.derived_dice[i]),
        score(curves.loss_weights[i]), score(curves.loss_architecture[i])]), [0, 1, 2, 3, 4, 5]));
  });
  return section("curves", "Learning curves",
    el("p", { class: "hint" }, "The derived network has the supernet's weights here: a large gap means that pruning removed what the supernet leaned on. A gate below 0.2 or above 0.8 counts as decided."),
    el("div", { class: "charts" }, charts.map(([title, chart]) => el("figure", null, el("figcaption", null, title), chart.host))),
    el("details", null, el("summary", null, "As a table"), rows));
}

let shownGeometry = () => null;
