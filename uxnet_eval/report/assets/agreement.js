"use strict";
// How often several searches agree, for each edge and each layer.

// Share of the entries that are equal to the most frequent one, and that one.
function majority(entries) {
  const counts = new Map();
  for (const entry of entries) counts.set(entry, (counts.get(entry) || 0) + 1);
  const [value, count] = [...counts].reduce((best, each) => (each[1] > best[1] ? each : best));
  return { value, count, share: count / entries.length };
}

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : NaN;
}

function agreementPanel(data, runs) {
  const text = el("p", { class: "status", id: "agreement-text" });
  const names = el("ul", { class: "key", "aria-label": "The searches" });
  const edges = el("div", { class: "maps" });
  const layers = el("div", { class: "maps" });
  views.push(() => {
    const alike = runs.filter((run) => run.levels === shown.run.levels && run.spatialDims === shown.run.spatialDims);
    if (alike.length < 2) {
      text.textContent = "No other search of the same grid to compare with.";
      names.replaceChildren();
      edges.replaceChildren();
      layers.replaceChildren();
      return;
    }
    const geometry = data.geometry[`${shown.run.levels}-${shown.run.spatialDims}`];
    const states = alike.map((run) => keepEdges(geometry, run.gates[run.gates.length - 1], shown.tau));
    const header = (first) => [first, ...alike.map((run) => el("span", { title: run.name, class: "short" }, shortName(run, runs))), "agree"];
    names.replaceChildren(...alike.map((run) => el("li", null, el("b", null, shortName(run, runs)), ` ${run.name}`)));
    const edgeShares = [];
    edges.replaceChildren(...groupBy(geometry.edges.map((_, e) => e), (e) => geometry.stages[geometry.targets[e]]).map(([stage, members]) =>
      el("div", { class: "map" }, table(stage === 0 ? "encoder" : `into stage ${stage}`, header("edge"), members.map((e) => {
        const choices = states.map((state) => state.kept[e]);
        const vote = majority(choices);
        edgeShares.push(vote.share);
        return [geometry.edges[e], ...choices.map((kept, r) => keptCell(kept, alike[r].gates.at(-1)[e])), voteCell(vote, 2 * vote.count === alike.length ? "" : vote.value ? "kept" : "pruned", alike.length)];
      })))));
    const searched = geometry.layers.map((name, i) => ({ name, kind: geometry.layerKinds[i] })).filter(({ name }) => alike.every((run) => run.layers[name]?.weights));
    const layerShares = [];
    layers.replaceChildren(...groupBy(searched, ({ kind }) => kind).map(([kind, members]) =>
      el("div", { class: "map wide" }, table(`${kind} layers`, header("node"), members.map(({ name }) => {
        const choices = alike.map((run) => run.layers[name].operations[argmax(run.layers[name].weights.at(-1))]);
        const vote = majority(choices);
        layerShares.push(vote.share);
        return [name.split("/")[0], ...choices.map((choice) => el("span", { class: choice === vote.value && vote.count > 1 ? "choice same" : "choice" },
          data.titles[shown.run.spatialDims][choice])), voteCell(vote, "", alike.length)];
      })))));
    text.textContent = `${alike.length} searches at τ = ${shown.tau.toFixed(2)}, each at its newest epoch: on average ${(100 * mean(edgeShares)).toFixed(0)} % agree on an edge` +
      (layerShares.length ? ` and ${(100 * mean(layerShares)).toFixed(0)} % on the operation of a layer.` : ".");
  });
  return section("agreement", "Agreement of the searches",
    el("p", { class: "hint" }, "What several seeds agree on is found; what they do not is chance. The number in a cell is the gate; an open edge that leads nowhere is pruned too."),
    text, names, el("h3", null, "Edges"), edges, el("h3", null, "Operations"), layers);
}

function shortName(run, runs) {
  return run.name.match(/^trial (-?\d+)/)?.[1] ?? String(runs.indexOf(run) + 1);
}

function keptCell(kept, gate) {
  return el("span", { class: kept ? "kept yes" : "kept", title: kept ? "kept" : "pruned" }, gate.toFixed(2).replace(/^0/, ""));
}

function voteCell(vote, word, count) {
  const cell = el("span", { class: "vote" }, `${vote.count}/${count} ${word}`.trim());
  cell.style.setProperty("--share", `${100 * vote.share}%`);
  return cell;
}

function groupBy(members, key) {
  const groups = new Map();
  for (const member of members) {
    const value = key(member);
    if (!groups.has(value)) groups.set(value, []);
    groups.get(value).push(member);
  }
  return [...groups];
}
