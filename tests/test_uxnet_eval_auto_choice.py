"""Who is trained, and who segments new scans, in ``uxnet auto``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from search_space import Genotype
from tests.auto_runs import HOURS, finished_run, outcome_of, tiny_schedule
from uxnet_eval.auto import stages
from uxnet_eval.auto.outcome import sentences
from uxnet_eval.auto.planning import describe
from uxnet_eval.auto.progress import OverallProgress
from uxnet_eval.auto.record import AutoRecord
from uxnet_eval.auto.run import run_auto
from uxnet_eval.dataset.folds import split_fold
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.networks.checkpoint import load_model
from uxnet_eval.preprocessing.prepared_cases import PreparedCases
from uxnet_eval.runs.model_file import model_checkpoints
from uxnet_eval.training.scoring import score_models


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, demo_set: Path) -> Path:
    return finished_run(tmp_path_factory.mktemp("auto") / "run", demo_set)


def test_the_best_proposal_on_the_inner_fold_is_trained(finished: Path) -> None:
    scores = [
        json.loads((finished / "choose" / f"proposal-{number}" / "result.json").read_text())["default"]
        for number in (0, 1)
    ]
    chosen = Genotype.load(finished / "genotype.json")
    best = scores.index(max(scores))
    assert chosen == Genotype.load(finished / "choose" / f"proposal-{best}.json")
    assert chosen == Genotype.load(finished / "train" / "searched-fold1" / "genotype.json")


def test_the_best_on_the_folds_of_the_final_trainings_segments_new_scans(finished: Path) -> None:
    def trained(name: str) -> float:
        paths = [finished / "train" / f"{name}-fold{fold}" / "result.json" for fold in (1, 2)]
        return sum(float(json.loads(path.read_text())["default"]) for path in paths) / 2

    together = [finished / "evaluation" / f"both-fold{fold}" / "summary.json" for fold in (1, 2)]
    dice = {
        "searched": trained("searched"),
        "U-Net": trained("unet"),
        "both": sum(float(json.loads(path.read_text())["mean_dice"]) for path in together) / 2,
    }
    outcome = outcome_of(finished)
    assert outcome["own_folds_dice"] == pytest.approx(dice)
    chosen = max(dice, key=lambda label: dice[label])
    assert (outcome["chosen"], outcome["compared_on"]) == (chosen, [1, 2])
    words = ", ".join(f"{label} {value:.4f}" for label, value in dice.items())
    assert f"Segments new scans: {chosen} (the best on their own folds 1, 2: {words})." in sentences(outcome)
    names = {"searched": ["searched"], "U-Net": ["unet"], "both": ["searched", "unet"]}[chosen]
    expected = [f"{name}-fold{fold}" for fold in (1, 2) for name in names]
    assert [path.parent.name for path in model_checkpoints(finished)] == expected


def test_both_networks_together_are_a_row_of_the_table(finished: Path) -> None:
    rows = outcome_of(finished)["networks"]
    assert list(rows) == ["searched", "U-Net", "both"]
    for cost in ("parameters", "multiply_adds", "minutes"):
        assert rows["both"][cost] == pytest.approx(rows["searched"][cost] + rows["U-Net"][cost])
    assert (
        "Each row is an ensemble of 2 trainings, the last one of all 4; "
        in (finished / "table.md").read_text()
    )
    models = [
        load_model(path)
        for name in ("searched", "unet")
        for path in sorted((finished / "train").glob(f"{name}-fold?/best.pt"))
    ]
    record = AutoRecord.load(finished)
    assert len(models) == 4 and record is not None and record.schedule is not None
    dataset = read_dataset(Path(record.schedule.search.dataset))
    _, cases = split_fold(dataset, fold=0, num_folds=5, seed=0)
    prepared = PreparedCases(cases, dataset, record.schedule.search.plan, cache=False)
    scores = score_models(models, prepared, dataset, 1.0).summary
    assert rows["both"]["dice"] == pytest.approx(scores["mean_dice"], abs=1e-6)


@pytest.mark.parametrize(
    ("dice", "chosen", "checkpoints"),
    [
        ({"searched": 0.55, "U-Net": 0.65, "both": 0.6}, "U-Net", ["unet-fold1", "unet-fold2"]),
        ({"searched": 0.7, "U-Net": 0.65, "both": 0.7}, "searched", ["searched-fold1", "searched-fold2"]),
        (
            {"searched": 0.7, "U-Net": 0.65, "both": 0.71},
            "both",
            ["searched-fold1", "unet-fold1", "searched-fold2", "unet-fold2"],
        ),
    ],
)
def test_own_folds_choose(
    dice: dict[str, float],
    chosen: str,
    checkpoints: list[str],
    finished: Path,
    demo_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = evaluated(finished, demo_set, tmp_path / "run", monkeypatch, dice)
    assert record.chosen == chosen
    assert [path.parent.name for path in model_checkpoints(tmp_path / "run")] == checkpoints


def test_the_left_out_fold_does_not_choose(
    finished: Path, demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainings without a fold of their own leave what ``choose`` has chosen."""
    folder = tmp_path / "run"
    record = evaluated(finished, demo_set, folder, monkeypatch, {}, folds=())
    assert record.chosen == "searched" and record.schedule is not None
    assert record.schedule.compared_on == (1,)
    assert [path.parent.name for path in model_checkpoints(folder)] == ["searched"]
    assert list(outcome_of(folder)["networks"]) == ["searched", "U-Net"]
    assert "Segments new scans: searched (the better on fold 1)." in sentences(outcome_of(folder))


def evaluated(
    finished: Path,
    data: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    dice: dict[str, float],
    folds: tuple[int, ...] = (1, 2),
) -> AutoRecord:
    """A run whose final trainings have these Dice on their own folds, after ``evaluate``."""
    shutil.copytree(finished, folder)
    for name in ("searched", "unet"):
        shutil.copytree(folder / "train" / f"{name}-fold1", folder / "train" / name)
    record = AutoRecord.load(folder)
    assert record is not None
    record.chosen = "searched"
    record.schedule = record.fitted = tiny_schedule(data, folds=folds)
    monkeypatch.setattr(stages, "own_folds_dice", lambda *_: dice)
    with OverallProgress(record, folder) as progress:
        stages.evaluate(stages.Run(folder, read_dataset(data), record, progress))
    return record


@pytest.mark.parametrize(("unet", "chosen"), [(0.7, "U-Net"), (0.5, "searched"), (0.6, "searched")])
def test_the_unet_is_taken_only_if_it_is_better(
    unet: float, chosen: str, finished: Path, demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    scores = {"proposal-0": 0.4, "proposal-1": 0.6, "unet": unet}
    monkeypatch.setattr(
        stages, "run_trainings", lambda due, *_, **__: [scores.get(each.folder.name, 0.0) for each in due]
    )
    monkeypatch.setitem(stages.RUNS, "train", lambda run: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        run_auto(str(demo_set), folder, begin_at="choose")
    record = AutoRecord.load(folder)
    assert record is not None
    assert record.chosen == chosen
    assert Genotype.load(folder / "genotype.json") == Genotype.load(folder / "choose" / "proposal-1.json")


def test_a_found_network_that_nothing_has_tried_segments_nothing(
    finished: Path, demo_set: Path, tmp_path: Path
) -> None:
    schedule = tiny_schedule(demo_set, folds=()).model_copy(update={"choice": None})
    (said,) = (line for line in describe(schedule, HOURS) if line.startswith("choose:"))
    assert said.endswith(
        "the best of the search, which is not compared with the U-Net; the U-Net segments new scans"
    )
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    record = AutoRecord.load(folder)
    assert record is not None
    record.schedule, record.fitted = schedule, None
    with OverallProgress(record, folder) as progress:
        stages.choose(stages.Run(folder, read_dataset(demo_set), record, progress))
    assert record.chosen == "U-Net"
