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
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.runs.model_file import model_checkpoints


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


def test_the_better_on_the_folds_of_the_final_trainings_segments_new_scans(finished: Path) -> None:
    def trained(name: str) -> float:
        results = [finished / "train" / f"{name}-fold{fold}" / "result.json" for fold in (1, 2)]
        return sum(float(json.loads(path.read_text())["default"]) for path in results)

    assert trained("unet") != trained("searched")
    chosen = "U-Net" if trained("unet") > trained("searched") else "searched"
    outcome = outcome_of(finished)
    assert (outcome["chosen"], outcome["compared_on"]) == (chosen, [1, 2])
    folder = {"U-Net": "unet", "searched": "searched"}[chosen]
    assert [path.parent.name for path in model_checkpoints(finished)] == [
        f"{folder}-fold1",
        f"{folder}-fold2",
    ]
    assert f"Segments new scans: {chosen} (the better on folds 1, 2)." in sentences(outcome)


@pytest.mark.parametrize(
    ("folds", "scores", "chosen", "compared_on"),
    [
        ((1, 2), [0.5, 0.7, 0.6, 0.6], "U-Net", (1, 2)),  # folds of searched and U-Net in turn
        ((1, 2), [0.8, 0.7, 0.6, 0.6], "searched", (1, 2)),
        ((), [0.5, 0.7], "searched", (1,)),  # both were scored on the left-out fold, which must not choose
    ],
)
def test_final_trainings_choose_by_their_own_folds_alone(
    folds: tuple[int, ...],
    scores: list[float],
    chosen: str,
    compared_on: tuple[int, ...],
    finished: Path,
    demo_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    record = AutoRecord.load(folder)
    assert record is not None
    record.chosen = "searched"
    record.schedule = record.fitted = tiny_schedule(demo_set, folds=folds)
    monkeypatch.setattr(stages, "run_trainings", lambda *_, **__: scores)
    with OverallProgress(record, folder) as progress:
        stages.train(stages.Run(folder, read_dataset(demo_set), record, progress))
    assert record.chosen == chosen
    assert record.schedule.compared_on == compared_on


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
