"use strict";
// Learning curves of trainings from scratch.

const RESULT_TITLES = {
  default: "mean Dice", architecture: "architecture", base_channels: "base channels", fold: "fold", seed: "seed", parameters: "parameters",
  multiply_adds: "multiply-adds", minutes: "minutes", peak_memory_gib: "peak memory, GiB", best_epoch: "best epoch", num_epochs: "epochs",
};

// Trainings of the same network, such as the folds of one, share a drawing.
function networkDrawings(trainings) {
  const drawings = groupBy(trainings.filter((training) => training.drawing), (training) => training.drawing);
  return drawings.map(([url, members]) => {
    const names = members.map((training) => training.name).join(", ");
    return el("figure", { class: "network" }, el("figcaption", null, `Network of ${names}`), el("img", { src: url, alt: `The network of ${names}` }));
  });
}

function trainingSection(trainings) {
  const keys = Object.keys(RESULT_TITLES).filter((key) => trainings.some((training) => key in training.result));
  const numeric = keys.map((key, i) => (key === "architecture" ? -1 : i + 1));
  const rows = trainings.map(({ name, result }) => [name, ...keys.map((key) =>
    (key === "default" ? score(result[key], 4) : typeof result[key] === "number" ? number(result[key], 2) : textOf(result[key])))]);
  const one = trainings.length === 1;
  const points = (training, values) => training.curves.epoch.map((epoch, i) => [epoch, values[i]]).filter((point) => point[1] !== null);
  const curve = (training, i, values, name) => ({ name, color: seriesColor(i), dash: seriesDash(i), points: points(training, values) });
  const dice = lineChart({
    title: "Dice on validation cases over the epochs", x: "epoch", y: "Dice",
    series: () => (one
      ? [{ ...curve(trainings[0], 0, trainings[0].curves.dice, "mean"), color: "#000000" },
        ...trainings[0].classes.map((name, c) => ({ ...curve(trainings[0], c, trainings[0].curves.classes[c], name), color: classColor(c) }))]
      : trainings.map((training, i) => curve(training, i, training.curves.dice, training.name))),
  });
  const loss = lineChart({
    title: "Loss over the epochs", x: "epoch", y: "loss",
    series: () => trainings.map((training, i) => curve(training, i, training.curves.loss, one ? "loss" : training.name)),
  });
  return section("training", one ? "Training" : "Trainings",
    keys.length ? el("div", { class: "scroll" }, table(null, ["training", ...keys.map((key) => RESULT_TITLES[key])], rows, numeric)) : null,
    el("div", { class: "charts" }, [["Dice on validation cases", dice], ["Loss", loss]].map(([title, chart]) =>
      el("figure", null, el("figcaption", null, title), drawn(chart)))),
    networkDrawings(trainings));
}
