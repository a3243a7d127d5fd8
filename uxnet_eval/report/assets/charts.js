"use strict";
// Line and point charts, drawn at the size of their place and again when that changes.

// Okabe and Ito without yellow; dashes tell apart what comes after the seventh.
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"];
const DASHES = [null, "7 4", "2 3", "9 3 2 3"];

function seriesColor(index) {
  return COLORS[index % COLORS.length];
}

// A class has one colour everywhere: in plots, and in segmentations over their images.
function classColor(index) {
  return classColors[index % classColors.length];
}

let classColors = COLORS;

function seriesDash(index) {
  return DASHES[Math.floor(index / COLORS.length) % DASHES.length];
}

function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((each) => each >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i <= high / step + 1e-9; i++) found.push(Number((i * step).toPrecision(10)));
  return found;
}

function tickText(value) {
  if (Math.abs(value) >= 1e7) return value.toExponential(1);
  return Math.abs(value) >= 10000 ? value.toLocaleString("en-US") : String(Number(value.toPrecision(4)));
}

// A place that calls draw(width) now and whenever its width changes. Returns {host, redraw}.
function responsive(draw) {
  const host = el("div", { class: "chart" });
  let drawn = 0;
  const redraw = () => {
    const width = host.clientWidth;
    if (width > 40) {
      drawn = width;
      host.replaceChildren(draw(width));
    }
  };
  new ResizeObserver(() => {
    if (Math.abs(host.clientWidth - drawn) > 1) requestAnimationFrame(redraw);
  }).observe(host);
  return { host, redraw };
}

function axes(root, frame, x, y, options) {
  const { left, right, top, bottom, unit } = frame;
  const small = { "font-size": 0.78 * unit, fill: "#454c55" };
  for (const value of y.ticks) {
    const at = y.at(value);
    root.append(svg("path", { d: `M${left},${at}H${right}`, stroke: "#dfe3e8", "stroke-width": 1 }));
    root.append(svg("text", { x: left - 0.4 * unit, y: at + 0.27 * unit, "text-anchor": "end", ...small }, tickText(value)));
  }
  for (const value of x.ticks) {
    const at = x.at(value);
    root.append(svg("path", { d: `M${at},${bottom}v${0.3 * unit}`, stroke: "#68727d" }));
    root.append(svg("text", { x: at, y: bottom + 1.15 * unit, "text-anchor": "middle", ...small }, tickText(value)));
  }
  root.append(svg("path", { d: `M${left},${bottom}H${right}`, stroke: "#68727d" }));
  root.append(svg("text", { x: right, y: bottom + 2.25 * unit, "text-anchor": "end", ...small }, options.x));
  root.append(svg("text", { x: 0, y: top - 0.75 * unit, ...small }, options.y));
}

function scale(low, high, from, to, count) {
  return { at: (value) => from + ((value - low) / (high - low || 1)) * (to - from), ticks: ticks(low, high, count) };
}

// options: title, x, y: texts; series(): [{name, points: [[x, y], ...], color, dash, width, faint}];
// yRange: [low, high] or null; fromZero: the y axis holds 0; levels(): [{y, text}]; marker(): x or null; onPick(name).
function lineChart(options) {
  return responsive((width) => {
    const unit = rem();
    const height = Math.round(Math.min(Math.max(0.5 * width, 15 * unit), 26 * unit));
    const series = options.series().filter((each) => each.points.length);
    const named = series.filter((each) => !each.faint);
    const points = series.flatMap((each) => each.points);
    const root = svgPicture(width, height, options.title);
    if (!points.length) {
      root.append(svg("text", { x: width / 2, y: height / 2, "text-anchor": "middle", "font-size": 0.9 * unit }, options.empty || "nothing recorded"));
      return root;
    }
    const labelRoom = named.length ? Math.min(0.4 * width, Math.max(...named.map((each) => each.name.length)) * 0.5 * unit + unit) : unit;
    const frame = { left: 3.4 * unit, right: width - labelRoom, top: 1.8 * unit, bottom: height - 2.6 * unit, unit };
    const xs = points.map((p) => p[0]);
    const ys = points.map((p) => p[1]);
    let [low, high] = options.yRange || [Math.min(...ys), Math.max(...ys)];
    if (options.fromZero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
    if (!options.yRange) {
      const margin = 0.06 * (high - low) || 0.05;
      low -= margin;
      high += margin;
    }
    let [x0, x1] = [Math.min(...xs), Math.max(...xs)];
    if (x0 === x1) [x0, x1] = [x0 - 1, x1 + 1];
    const x = scale(x0, x1, frame.left, frame.right, Math.max(2, Math.floor((frame.right - frame.left) / (4 * unit))));
    x.ticks = x.ticks.filter((value) => Number.isInteger(value));
    const y = scale(low, high, frame.bottom, frame.top, 5);
    axes(root, frame, x, y, options);
    for (const level of options.levels ? options.levels() : []) {
      const at = y.at(level.y);
      root.append(svg("path", { d: `M${frame.left},${at}H${frame.right}`, stroke: "#454c55", "stroke-dasharray": "2 3" }));
      if (level.text) root.append(svg("text", { x: frame.left + 0.3 * unit, y: at - 0.25 * unit, "font-size": 0.78 * unit, fill: "#454c55" }, level.text));
    }
    const marker = options.marker ? options.marker() : null;
    if (marker !== null && marker >= x0 && marker <= x1)
      root.append(svg("path", { d: `M${x.at(marker)},${frame.top}V${frame.bottom}`, stroke: "#68727d", "stroke-width": 1, class: "marker" }));
    for (const each of series) {
      const d = each.points.map((p, i) => `${i ? "L" : "M"}${x.at(p[0]).toFixed(1)},${y.at(p[1]).toFixed(1)}`).join("");
      root.append(svg("path", {
        d, fill: "none", stroke: each.color, "stroke-width": each.width || (each.faint ? 1 : 2.2), "stroke-dasharray": each.dash,
        "stroke-linejoin": "round", class: each.faint ? "faint" : "curve", "data-name": each.name,
      }));
      if (each.points.length === 1 || (!each.faint && each.points.length <= 12))
        for (const p of each.points) root.append(svg("circle", { cx: x.at(p[0]), cy: y.at(p[1]), r: each.faint ? 2 : 3, fill: each.color }));
    }
    endLabels(root, named, x, y, frame);
    const focus = svg("circle", { r: 5, fill: "none", stroke: "#1d2733", "stroke-width": 2, visibility: "hidden" });
    root.append(focus);
    const nearest = (event) => {
      const box = root.getBoundingClientRect();
      const [px, py] = [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
      let found = null;
      for (const each of series)
        for (const p of each.points) {
          const distance = (x.at(p[0]) - px) ** 2 + (y.at(p[1]) - py) ** 2 + (each.faint ? 60 : 0);
          if (!found || distance < found.distance) found = { distance, each, p };
        }
      return found && found.distance < (4 * unit) ** 2 ? found : null;
    };
    root.addEventListener("pointermove", (event) => {
      const found = nearest(event);
      focus.setAttribute("visibility", found ? "visible" : "hidden");
      if (!found) return tip.hide();
      focus.setAttribute("cx", x.at(found.p[0]));
      focus.setAttribute("cy", y.at(found.p[1]));
      tip.show(event, `${found.each.name}, ${options.x} ${number(found.p[0])}: ${number(found.p[1])}`);
    });
    root.addEventListener("pointerleave", () => {
      tip.hide();
      focus.setAttribute("visibility", "hidden");
    });
    if (options.onPick) {
      root.style.cursor = "pointer";
      root.addEventListener("click", (event) => {
        const found = nearest(event);
        if (found) options.onPick(found.each.name);
      });
    }
    return root;
  });
}

// Names at the ends of the curves, moved apart so that none covers another.
function endLabels(root, series, x, y, frame) {
  const { unit } = frame;
  const gap = 1.02 * unit;
  const labels = series.map((each) => {
    const last = each.points[each.points.length - 1];
    return { each, wanted: y.at(last[1]), at: y.at(last[1]) };
  }).sort((a, b) => a.wanted - b.wanted);
  for (let i = 1; i < labels.length; i++) labels[i].at = Math.max(labels[i].at, labels[i - 1].at + gap);
  const bottom = frame.bottom + 0.3 * unit;
  for (let i = labels.length - 1; i >= 0; i--) {
    const limit = i === labels.length - 1 ? bottom : labels[i + 1].at - gap;
    labels[i].at = Math.min(labels[i].at, limit);
  }
  for (const { each, wanted, at } of labels) {
    const left = frame.right + 0.9 * unit;
    root.append(svg("path", { d: `M${frame.right + 2},${wanted}L${left - 3},${at}`, stroke: each.color, "stroke-width": 1, "stroke-dasharray": each.dash }));
    root.append(svg("text", { x: left, y: at + 0.28 * unit, "font-size": 0.8 * unit, fill: "#1d2733" }, each.name));
  }
}

// Points of groups side by side with median and quartiles, from 0 to "limit" at most, zoomed to what there is.
// groups: [{name, color, points: [{value, text}]}].
function stripChart(options) {
  return responsive((width) => {
    const unit = rem();
    const height = Math.round(17 * unit);
    const root = svgPicture(width, height, options.title);
    const frame = { left: 3.4 * unit, right: width - 0.5 * unit, top: 1.8 * unit, bottom: height - 2 * unit, unit };
    const values = options.groups.flatMap((group) => group.points.map((point) => point.value));
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = 0.06 * (high - low) || 0.05;
    [low, high] = [Math.max(0, low - margin), Math.min(options.limit ?? Infinity, high + margin)];
    const y = scale(low, high, frame.bottom, frame.top, 5);
    axes(root, frame, { ticks: [] }, y, { x: "", y: options.y });
    const step = (frame.right - frame.left) / options.groups.length;
    options.groups.forEach((group, g) => {
      const center = frame.left + (g + 0.5) * step;
      const sorted = group.points.map((point) => point.value).sort((a, b) => a - b);
      const spread = Math.min(0.3 * step, 4 * unit);
      group.points.forEach((point, i) => {
        const shift = (((i * 0.618034) % 1) - 0.5) * 2 * spread; // spread evenly, alike each time
        root.append(hover(svg("circle", { cx: center + shift, cy: y.at(point.value), r: 0.24 * unit, fill: group.color, opacity: 0.6, class: "point" }), point.text));
      });
      const mark = (q, half, stroke) => root.append(svg("path", { d: `M${center - half},${y.at(q)}h${2 * half}`, stroke: "#1d2733", "stroke-width": stroke }));
      if (sorted.length) {
        mark(quantile(sorted, 0.5), spread + 0.5 * unit, 3);
        mark(quantile(sorted, 0.25), 0.6 * spread, 1.5);
        mark(quantile(sorted, 0.75), 0.6 * spread, 1.5);
      }
      root.append(svg("text", { x: center, y: frame.bottom + 1.3 * unit, "text-anchor": "middle", "font-size": 0.85 * unit, fill: "#1d2733" }, group.name));
    });
    return root;
  });
}

function quantile(sorted, share) {
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

// options: title, x, y, groups: [{name, color, points: [{x, y, text}]}]; with the line of equality.
function scatterChart(options) {
  return responsive((width) => {
    const unit = rem();
    const height = Math.round(17 * unit);
    const root = svgPicture(width, height, options.title);
    const points = options.groups.flatMap((group) => group.points);
    const high = 1.04 * Math.max(...points.flatMap((point) => [point.x, point.y]), 1e-9);
    const frame = { left: 4.4 * unit, right: width - 1.6 * unit, top: 1.8 * unit, bottom: height - 2.6 * unit, unit };
    const x = scale(0, high, frame.left, frame.right, Math.floor(width / (6 * unit)));
    const y = scale(0, high, frame.bottom, frame.top, 5);
    axes(root, frame, x, y, options);
    root.append(svg("path", { d: `M${x.at(0)},${y.at(0)}L${x.at(high)},${y.at(high)}`, stroke: "#68727d", "stroke-dasharray": "4 4" }));
    for (const group of options.groups)
      for (const point of group.points)
        root.append(hover(svg("circle", { cx: x.at(point.x), cy: y.at(point.y), r: 0.24 * unit, fill: group.color, opacity: 0.6, class: "point" }), point.text));
    return root;
  });
}
