"use strict";
// The fronts of searches by measurement: Dice against multiply-adds, and the networks that are best for their cost.

function frontChart(front) {
  return responsive((width) => {
    const unit = rem();
    const height = Math.round(Math.min(Math.max(0.45 * width, 15 * unit), 24 * unit));
    const root = svgPicture(width, height, `Dice against multiply-adds of ${plural(front.points.length, "network")}`);
    const frame = { left: 2.8 * unit, right: width - unit, top: 1.8 * unit, bottom: height - 2.6 * unit, unit };
    const costs = front.points.map((point) => point.multiplyAdds / 1e9);
    const dices = front.points.map((point) => point.dice);
    const margin = 0.06 * (Math.max(...dices) - Math.min(...dices)) || 0.05;
    const beside = 0.05 * (Math.max(...costs) - Math.min(...costs)) || 0.05 * costs[0];
    const x = scale(Math.min(...costs) - beside, Math.max(...costs) + beside, frame.left, frame.right, 6);
    const y = scale(Math.min(...dices) - margin, Math.max(...dices) + margin, frame.bottom, frame.top, 5);
    axes(root, frame, x, y, { x: "multiply-adds of one patch (billions)", y: front.measure });
    const at = (point) => `${x.at(point.multiplyAdds / 1e9)},${y.at(point.dice)}`;
    const best = front.points.filter((point) => point.isBest);
    root.append(svg("path", { d: `M${best.map(at).join("L")}`, fill: "none", stroke: COLORS[0], "stroke-width": 2 }));
    for (const point of front.points) {
      const mark = svg("circle", { cx: x.at(point.multiplyAdds / 1e9), cy: y.at(point.dice), r: point.isBest ? 5 : 3, fill: point.isBest ? COLORS[0] : "#999999" });
      mark.append(svg("title", null, `${score(point.dice)} at ${number(point.multiplyAdds / 1e9)} G`));
      root.append(mark);
    }
    return root;
  }).host;
}

function frontSection(fronts) {
  return section("front", "Front", fronts.map((front) => [
    fronts.length > 1 ? el("h3", null, front.name) : null,
    el("p", { class: "hint" }, `${plural(front.points.length, "network")} measured${front.isFinished ? "" : "; the search is not finished, this is the front so far"}. The line joins the networks that no other beats at their cost.`),
    frontChart(front),
    el("div", { class: "scroll" }, table(null, ["multiply-adds", "parameters", "ms per patch", "edges", "widths", front.measure],
      front.points.filter((point) => point.isBest).map((point) =>
        [`${number(point.multiplyAdds / 1e9)} G`, number(point.parameters), point.latencyMs ? number(point.latencyMs) : "-", number(point.edges), point.widths || "1 everywhere", score(point.dice, 4)]), [0, 1, 2, 3, 5])),
    ...effectsTable(front.effects),
  ]));
}

function effectsTable(effects) {
  if (!effects.length) return [];
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  return [
    el("p", { class: "hint" }, `What goes together with a high Dice: rank correlation of each choice with the Dice of the ${effects[0].networks} random networks of the search, and its 95 % interval over these networks. All meet one budget, so more of one choice leaves less for the others.`),
    el("div", { class: "scroll" }, table(null, ["choice", "correlation with Dice", "95 %"],
      effects.map((each) => [each.choice, signed(each.correlation), `${signed(each.low)} to ${signed(each.high)}`]), [1, 2])),
  ];
}
