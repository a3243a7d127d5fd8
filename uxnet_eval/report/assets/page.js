"use strict";
// Puts the page together from the data that is embedded in it.

const FINAL_TITLES = {
  default: "Dice", derived_dice: "derived Dice", edges_kept: "edges kept", decided_gates: "gates decided", parameters: "parameters", search_minutes: "minutes",
};

function finalValue(key, value) {
  if (key === "decided_gates" && Number.isFinite(value)) return `${(100 * value).toFixed(0)} %`;
  if (key === "default" || key.endsWith("dice")) return score(value);
  return number(value, key === "search_minutes" ? 1 : 3);
}

// A run without a final result shows the newest validation.
function resultsOf(data, run) {
  if (Object.keys(run.final).length || !run.hasRecord) return run.final;
  const geometry = data.geometry[`${run.levels}-${run.spatialDims}`];
  const gates = run.gates.at(-1);
  return {
    default: run.curves.default.at(-1), derived_dice: run.curves.derived_dice.at(-1),
    edges_kept: keepEdges(geometry, gates, run.pruneThreshold).kept.filter(Boolean).length,
    decided_gates: decidedShare(run.searchedEdges.map((name) => gates[geometry.edges.indexOf(name)])),
  };
}

function summarySection(data) {
  const keys = Object.keys(FINAL_TITLES);
  const extra = [...new Set(data.runs.flatMap((run) => Object.keys(run.final)))].filter((key) => !keys.includes(key));
  const parameters = [...new Set(data.runs.flatMap((run) => Object.keys(run.parameters)))];
  const rows = data.runs.map((run) => {
    const results = resultsOf(data, run);
    return [run.name, run.status, ...parameters.map((name) => textOf(run.parameters[name])), ...[...keys, ...extra].map((key) => finalValue(key, results[key]))];
  });
  const header = ["search", "status", ...parameters, ...keys.map((key) => FINAL_TITLES[key]), ...extra];
  return section("summary", "Summary",
    data.runs.length ? el("div", { class: "scroll" }, table(null, header, rows, header.map((_, i) => i).slice(2 + parameters.length))) : null,
    data.notes.length ? el("div", { class: "notes", role: "note", "aria-label": "What is missing" }, el("h3", null, "What is missing"),
      el("ul", null, data.notes.map((note) => el("li", null, note)))) : null);
}

function textOf(value) {
  if (value === undefined || value === null) return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function provenanceTable(caption, provenance) {
  const rows = [];
  const walk = (values, prefix) => {
    for (const [name, value] of Object.entries(values)) {
      if (value !== null && typeof value === "object" && !Array.isArray(value)) walk(value, `${prefix}${name}.`);
      else rows.push([prefix + name, textOf(value)]);
    }
  };
  walk(provenance, "");
  return table(caption, ["what", "value"], rows);
}

function provenanceSection(data, runs) {
  const host = runs.length ? el("div", { class: "scroll" }) : null;
  if (runs.length) views.push(() => host.replaceChildren(provenanceTable(shown.run.name, { folder: shown.run.folder, ...shown.run.provenance })));
  const trainings = data.trainings.map(({ name, provenance }, i) =>
    el("details", { open: i === 0 && !runs.length }, el("summary", null, name), el("div", { class: "scroll" }, provenanceTable(null, provenance))));
  return section("provenance", "Provenance", el("p", { class: "hint" }, `Made ${data.made} by uxnet report from ${data.origin}.`), host, trainings,
    data.configuration ? el("details", null, el("summary", null, "Resolved configuration (run.yml)"), el("pre", null, data.configuration)) : null);
}

function elsewhereSection(commands) {
  const rows = commands.map(([where, command]) => [where, el("code", null, command)]);
  return section("elsewhere", "Use it elsewhere", el("div", { class: "scroll" }, table(null, ["to", "command"], rows)));
}

function searchOverlaysSection() {
  const host = el("div");
  const whole = section("overlays", "Segmentations", host);
  views.push(() => {
    whole.hidden = !shown.run.overlays;
    if (shown.run.overlays) host.replaceChildren(...overlayFigures(shown.run.overlays).flat());
  });
  return whole;
}

function main() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const page = document.getElementById("page");
  classColors = data.classColors;
  const runs = data.runs.filter((run) => run.hasRecord);
  shownGeometry = () => data.geometry[`${shown.run.levels}-${shown.run.spatialDims}`];
  page.append(el("header", null, el("h1", null, data.title), el("p", { class: "hint" }, data.origin)), data.runs.length || data.notes.length ? summarySection(data) : "");
  if (runs.length) {
    selectRun(data, runs.reduce((best, run) => ((run.final.default ?? -1) > (best.final.default ?? -1) ? run : best)));
    page.append(controls(data, runs), el("div", { class: "pair" }, architecturePanel(data), gatesPanel(data, runs)), weightsPanel(data), curvesPanel());
    if (runs.length > 1) page.append(agreementPanel(data, runs));
    page.append(searchOverlaysSection());
  }
  if (data.fronts.length) page.append(frontSection(data.fronts));
  if (data.trainings.length) page.append(trainingSection(data.trainings));
  if (data.scores.length) page.append(scoresSection(data.scores));
  data.overlays.forEach((overlays, i) => page.append(section(`cases-${i}`, data.overlays.length > 1 ? `Segmentations: ${overlays.run}` : "Segmentations", overlayFigures(overlays))));
  if (data.exports.length) page.append(elsewhereSection(data.exports));
  page.append(provenanceSection(data, runs));
  refresh();
  document.documentElement.dataset.ready = "true";
}

main();
