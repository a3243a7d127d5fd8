"use strict";
// Scores of cases and classes, and segmentations over their images.

const METRICS = [
  ["dice", "Dice", 1],
  ["nsd", "surface Dice (NSD)", 1],
  ["hd95_mm", "HD95, mm", null],
];

// One table of cases lies open; of several, each opens by a click.
function scoresSection(all) {
  if (all.length === 1) return section("scores", "Scores", scoresPanel(all[0]));
  return section("scores", "Scores", all.map((scores, i) => {
    const mean = scores.summary?.mean_dice;
    const title = `${scores.run}${Number.isFinite(mean) ? `: mean Dice ${mean.toFixed(4)}` : ""}`;
    return el("details", { open: i === 0 }, el("summary", null, title), scoresPanel(scores));
  }));
}

function scoresPanel(scores) {
  const rows = scores.caseIds.map((_, i) => i);
  const of = (metric, name) => rows.filter((i) => scores.caseClasses[i] === name && scores.columns[metric][i] !== null);
  const charts = METRICS.filter(([metric]) => scores.columns[metric].some((value) => value !== null)).map(([metric, title, best]) =>
    el("figure", null, el("figcaption", null, `${title} of every case`), drawn(stripChart({
      title: `${title} of every case, by class`, y: title, limit: best,
      groups: scores.classes.map((name, c) => ({ name, color: classColor(c), points: of(metric, name).map((i) => ({
        value: scores.columns[metric][i], text: `${scores.caseIds[i]}, ${name}: ${number(scores.columns[metric][i])}` })) })),
    }))));
  const volume = (i) => [scores.columns.reference_volume_mm3[i], scores.columns.predicted_volume_mm3[i]];
  const unit = scores.summary?.volume_unit === "mm2" ? "mm²" : "mm³";
  if (rows.some((i) => volume(i).every((value) => value !== null)))
    charts.push(el("figure", null, el("figcaption", null, `Volume, ${unit}`), drawn(scatterChart({
      title: "Predicted volume against reference volume", x: `reference, ${unit}`, y: `predicted, ${unit}`,
      groups: scores.classes.map((name, c) => ({ name, color: classColor(c), points: rows.filter((i) => scores.caseClasses[i] === name && volume(i).every((value) => value !== null))
        .map((i) => ({ x: volume(i)[0], y: volume(i)[1], text: `${scores.caseIds[i]}, ${name}: ${number(volume(i)[1], 0)} for ${number(volume(i)[0], 0)} ${unit}` })) })),
    }))));
  const sorted = rows.slice().sort((a, b) => (scores.columns.dice[a] ?? 2) - (scores.columns.dice[b] ?? 2));
  const numCases = new Set(scores.caseIds).size;
  return [
    el("p", { class: "hint" }, `${plural(numCases, "case")}, ${scores.name}. Each point is a case; long bars are medians, short ones quartiles.`),
    summaryTable(scores), scores.summary?.warnings?.map((text) => el("p", { class: "note" }, text)),
    el("ul", { class: "key" }, scores.classes.map((name, c) => keyEntry(name, classColor(c)))),
    el("div", { class: "charts" }, charts),
    el("details", null, el("summary", null, "Every case, worst Dice first"), el("div", { class: "scroll" },
      table(null, ["case", "class", "Dice", "NSD", "HD95, mm", `reference, ${unit}`, `predicted, ${unit}`], sorted.map((i) => [
        scores.caseIds[i], scores.caseClasses[i], ...["dice", "nsd", "hd95_mm"].map((metric) => score(scores.columns[metric][i])),
        ...volume(i).map((value) => number(value, 0))]), [2, 3, 4, 5, 6]))),
  ];
}

function drawn(chart) {
  return chart.host; // draws itself as soon as it has a width
}

function keyEntry(name, color) {
  const mark = el("span", { class: "mark" });
  mark.style.background = color;
  return el("li", null, mark, name);
}

function summaryTable({ summary }) {
  if (!summary) return null;
  const cell = (entry, digits) => {
    if (!entry || entry.mean === null) return "–";
    const spread = entry.sd === null ? "" : ` ± ${entry.sd.toFixed(digits)}`;
    const interval = entry.interval_95 ? ` (${entry.interval_95.map((end) => end.toFixed(digits)).join(" to ")})` : "";
    return entry.mean.toFixed(digits) + spread + interval;
  };
  const nsd = summary.tolerance_mm === null ? "NSD" : `NSD at ${summary.tolerance_mm} mm`;
  const overall = summary.mean_dice === null ? "none" : summary.mean_dice.toFixed(4) +
    (summary.mean_dice_interval_95 ? ` (${summary.mean_dice_interval_95.map((end) => end.toFixed(4)).join(" to ")})` : "");
  return [el("p", { class: "status" }, `Mean Dice over cases and classes: ${overall}`),
    table("mean ± SD (95 % interval of the mean)", ["class", "Dice", nsd, "HD95, mm", "cases"],
      Object.entries(summary.classes).map(([name, entry]) => [name, cell(entry.dice, 3), cell(entry.nsd, 3), cell(entry.hd95_mm, 2), number(entry.dice?.num_cases)]), [1, 2, 3, 4])];
}

function overlayFigures(overlays) {
  return [
    el("p", { class: "hint" }, `${overlays.what}. Filled: prediction; outlined: reference. Volumes: axial, coronal and sagittal plane through the largest cross-section, the patient's right on the left.`),
    el("ul", { class: "key" }, overlays.classes.map(({ name, color }) => keyEntry(name, color))),
    el("div", { class: "overlays" }, overlays.cases.map((entry) => {
      const text = `${entry.rank ? `${entry.rank}: ` : ""}${entry.caseId}, Dice ${score(entry.dice)}`;
      return el("figure", null, el("figcaption", null, text), el("img", { src: entry.url, alt: `Segmentation over the image, ${text}` }));
    })),
  ];
}
