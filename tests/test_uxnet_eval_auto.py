"""``uxnet auto`` on tiny data: what comes out, who sees which case, going on, beginning anew, and faults."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from search_space import Genotype, UserError
from search_space.activations import genotype_activations
from search_space.checksum import CHECKSUM
from tests.auto_runs import HOURS, finished_run, outcome_of, planned, tiny_schedule
from uxnet_eval.auto import record as auto_record
from uxnet_eval.auto import stages, timing, trainings
from uxnet_eval.auto.outcome import outcome_markdown, outcome_table, sentences
from uxnet_eval.auto.progress import OverallProgress
from uxnet_eval.auto.record import AutoRecord
from uxnet_eval.auto.run import dry_run, run_auto
from uxnet_eval.auto.schedule import STAGES
from uxnet_eval.cli import app
from uxnet_eval.config.search import RunConfig
from uxnet_eval.config.training import TrainConfig
from uxnet_eval.dataset.demo_data import make_demo_data
from uxnet_eval.dataset.folds import split_fold
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.evaluation.folders import evaluate_folders
from uxnet_eval.recipe.progress import tell
from uxnet_eval.report import read_source
from uxnet_eval.runs.model_file import model_checkpoints
from uxnet_eval.runs.names import AUTO_NAME
from uxnet_eval.search.single_path_module import anchor_of
from uxnet_eval.training.preparation import prepare


def without_minutes(outcome: dict[str, Any]) -> dict[str, Any]:
    """All of the final table but the time."""
    rows = {
        label: {name: value for name, value in row.items() if name != "minutes"}
        for label, row in outcome["networks"].items()
    }
    rest = {name: value for name, value in outcome.items() if name != CHECKSUM}  # it covers the minutes
    return {**rest, "networks": rows}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, demo_set: Path) -> Path:
    return finished_run(tmp_path_factory.mktemp("auto") / "run", demo_set)


def test_all_stages_end_and_their_time_counts(finished: Path) -> None:
    record = AutoRecord.load(finished)
    assert record is not None
    for name in STAGES:
        assert record.stages[name].done
    assert all(record.stages[name].spent_s > 0 for name in STAGES[2:])
    assert "stage search (3 of 7)" in (finished / "auto.log").read_text()


def test_no_stage_saw_the_left_out_fold(finished: Path, demo_set: Path) -> None:
    dataset = read_dataset(demo_set)
    left_out = {case.case_id for case in split_fold(dataset, fold=0, num_folds=5, seed=0)[1]}
    search = yaml.safe_load((finished / "search" / "run.yml").read_text())["search"]
    assert search["left_out_fold"] == 0
    names = [
        "choose/proposal-0",
        "choose/proposal-1",
        "choose/unet",
        *(f"train/{net}-fold{fold}" for net in ("searched", "unet") for fold in (1, 2)),
    ]
    for name in names:
        training = prepare(TrainConfig.load(finished / name / "run.yml"), finished / name, finished)
        assert not left_out & {case.case_id for case in (*training.learned, *training.held_out)}
    scored = (finished / "evaluation" / "searched" / "cases.csv").read_text().splitlines()[1:]
    assert {line.split(",")[0] for line in scored} == left_out


def test_the_found_network_costs_no_more_than_the_unet(finished: Path) -> None:
    rows, config = outcome_of(finished)["networks"], RunConfig.load(finished / "search.run.yml")
    assert rows["searched"]["multiply_adds"] <= rows["U-Net"]["multiply_adds"]
    assert rows["searched"]["parameters"] <= config.budget.max_parameters
    space, patch_size = config.space_config(1, 4), config.plan.patch_size
    found = Genotype.load(finished / "genotype.json")
    unet = anchor_of(space)
    assert rows["U-Net"]["parameters"] == pytest.approx(config.budget.max_parameters, rel=0.01)
    assert genotype_activations(unet, space, patch_size) == config.budget.max_activations
    assert genotype_activations(found, space, patch_size) <= config.budget.max_activations
    assert rows["searched"]["num_cases"] == 2


def test_the_table_is_the_ensemble_that_predict_uses(finished: Path, demo_set: Path, tmp_path: Path) -> None:
    dataset = read_dataset(demo_set)
    left_out = [case.case_id for case in split_fold(dataset, fold=0, num_folds=5, seed=0)[1]]
    arguments = ["predict", "-i", str(demo_set), "-o", str(tmp_path / "labels"), "--training"]
    arguments += [word for case_id in left_out for word in ("--case", case_id)]
    result = CliRunner().invoke(app, [*arguments, "--model", str(finished)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    scores = evaluate_folders(dataset, tmp_path / "labels", allow_missing=True)
    outcome = outcome_of(finished)
    row = outcome["networks"][outcome["chosen"]]
    assert scores.summary["mean_dice"] == pytest.approx(row["dice"], abs=1e-9)
    assert len(model_checkpoints(finished)) == 2


def test_the_report_shows_search_trainings_and_scores(finished: Path) -> None:
    found = read_source(finished)
    assert len(found.fronts) == 1
    assert {training["name"] for training in found.trainings} == {
        "choose/proposal-0",
        "choose/proposal-1",
        "choose/unet",
        *(f"train/{net}-fold{fold}" for net in ("searched", "unet") for fold in (1, 2)),
    }
    assert {"evaluation/searched", "evaluation/unet"} <= {scores["run"] for scores in found.scores}
    assert (finished / "report.html").stat().st_size > 10_000


def test_the_same_command_again_changes_nothing(finished: Path, demo_set: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    run_auto(str(demo_set), finished)
    after = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    changed = {path.name for path in after if before.get(path) != after[path]}
    assert changed <= {".lock", "auto.log"}


def test_the_end_is_a_table_and_the_next_command(finished: Path, demo_set: Path) -> None:
    result = CliRunner().invoke(app, ["auto", str(demo_set), "-o", str(finished)], catch_exceptions=False)
    row = outcome_of(finished)["networks"]["searched"]
    assert f"{row['dice']:.4f}" in result.output
    assert "U-Net minus searched: " in result.output
    assert result.output.splitlines()[-1] == f"next: uxnet predict -i SCANS -o LABELS --model {finished}"
    for name in ("architecture.png", "report.html"):
        assert (finished / name).exists()
        assert str(finished / name) in result.output
    assert f"| searched | {row['dice']:.4f}" in (finished / "table.md").read_text()


def test_from_a_stage_keeps_the_stages_before(
    finished: Path, demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(finished, folder)
    (folder / "mine.txt").write_text("precious")
    trained = (folder / "train" / "unet-fold1" / "best.pt").stat().st_mtime_ns
    monkeypatch.setattr(trainings, "run_training", None)  # evaluation trains nothing
    with monkeypatch.context() as stopping:
        stopping.setitem(stages.RUNS, "evaluate", lambda run: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            run_auto(str(demo_set), folder, begin_at="evaluate")
    assert "stopped in the stage evaluate; the same command goes on" in (folder / "auto.log").read_text()
    assert not (folder / "evaluation").exists()
    assert not (folder / "outcome.json").exists()
    run_auto(str(demo_set), folder)
    assert without_minutes(outcome_of(folder)) == without_minutes(outcome_of(finished))
    assert (folder / "train" / "unet-fold1" / "best.pt").stat().st_mtime_ns == trained
    assert (folder / "mine.txt").read_text() == "precious"


def test_dry_run_of_a_planned_folder_writes_nothing(finished: Path, demo_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "planned"
    planned(folder, demo_set, tiny_schedule(demo_set))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    lines = dry_run(str(demo_set), folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert lines[0] == f"A schedule for {HOURS:g} hours on this machine. Predicted:"
    assert [line.split(":")[0] for line in lines[1:8]] == list(STAGES)
    assert "0.5 GiB" in lines[3]
    result = CliRunner().invoke(
        app, ["auto", str(demo_set), "-o", str(folder), "--dry-run"], catch_exceptions=False
    )
    assert result.output.splitlines()[-1] == f"next: uxnet auto {demo_set} -o {folder}"


def test_one_training_without_a_unet(demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the left-out fold is learned from, and that fold is validated on once, at the end."""
    folder = tmp_path / "single"
    told: dict[str, list[float]] = {}
    monkeypatch.setattr(
        OverallProgress, "advance", lambda self, share: told.setdefault(self._stage, []).append(share)
    )
    schedule = tiny_schedule(demo_set, folds=(), with_unet=False).model_copy(
        update={"proposals": 1, "choice": None}
    )
    planned(folder, demo_set, schedule)
    run_auto(str(demo_set), folder, with_unet=False)
    training = prepare(TrainConfig.load(folder / "train" / "searched" / "run.yml"), folder, folder)
    assert len(training.learned) == 6
    assert training.config.train.validate_every == training.config.train.epochs
    outcome = outcome_of(folder)
    single = json.loads((folder / "train" / "searched" / "result.json").read_text())
    assert outcome["networks"]["searched"]["dice"] == single["default"]
    assert list(outcome["networks"]) == ["searched"]
    assert sentences(outcome) == ["Each row is one training; no stage before saw these cases."]
    assert not (folder / "choose").exists()
    # Three steps, then two scored cases, by the times of the schedule that was fitted to the network.
    record = AutoRecord.load(folder)
    assert record is not None
    assert record.fitted is not None
    parts = record.fitted.parts["train"]
    steps = parts["steps"] / sum(parts.values())
    assert 0.2 < steps <= 1  # scoring of tiny cases may round to nothing
    assert told["train"] == pytest.approx(
        [steps / 3, steps * 2 / 3, steps, steps + (1 - steps) / 2, 1.0, 1.0]
    )
    # Two steps of shared weights, three measured architectures.
    assert told["search"] == pytest.approx([0.25, 0.5, 0.5 + 1 / 6, 0.5 + 2 / 6, 1.0, 1.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hours": 2.0}, "holds a run that was planned for 5 hours; leave --hours out to go on"),
        ({"with_unet": False}, "holds a run with the U-Net; give --no-unet as before, or add --from plan"),
        ({"begin_at": "train"}, "--from train: the stage search before it has not ended; leave --from out"),
        ({"left_out_fold": 2}, "leaves out fold 0; give --left-out-fold 0 as before, or another output"),
        ({"left_out_fold": 5}, "--left-out-fold 5: expected 0 to 4, a fold of"),
        ({"left_out_fold": -1}, "--left-out-fold -1: expected 0 to 4"),
        ({"hours": 0.0}, "--hours 0: expected a time above 0"),
        ({"hours": float("nan")}, "--hours nan: expected a time above 0"),
    ],
)
def test_arguments_that_do_not_fit_the_folder(
    arguments: dict[str, Any], message: str, demo_set: Path, tmp_path: Path
) -> None:
    planned(tmp_path / "run", demo_set, tiny_schedule(demo_set))
    with pytest.raises(UserError) as error:
        run_auto(str(demo_set), tmp_path / "run", **arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_with_another_data_sets_run(demo_set: Path, tmp_path: Path) -> None:
    planned(tmp_path / "run", demo_set, tiny_schedule(demo_set))
    other = make_demo_data(tmp_path / "other", num_cases=5, size_voxels=(8, 8, 8))
    with pytest.raises(UserError, match="holds a run on Demo, with other cases, classes or folds than"):
        run_auto(str(other), tmp_path / "run")


def test_folders_that_cannot_be_used(demo_set: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(UserError, match=r"holds no run of uxnet auto but 1 other files .* notes\.txt"):
        run_auto(str(demo_set), tmp_path / "mine")
    with pytest.raises(UserError, match="is a file; give another output folder"):
        run_auto(str(demo_set), tmp_path / "mine" / "notes.txt")
    with pytest.raises(UserError, match="cannot be made"):  # not even root may write there
        run_auto(str(demo_set), Path("/proc/auto"))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / AUTO_NAME).write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        run_auto(str(demo_set), tmp_path / "damaged")


def test_no_hours_left_after_planning(
    demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(timing, "NUM_STEPS", 1)
    with pytest.raises(UserError, match=r"0\.0005 hours are too few; this machine needs at least"):
        run_auto(str(demo_set), tmp_path / "run", hours=0.0005)
    # Other hours need no other folder, as long as there is no schedule.
    with pytest.raises(UserError, match=r"0\.0006 hours are too few"):
        run_auto(str(demo_set), tmp_path / "run", hours=0.0006)


def test_faulty_data_end_the_first_stage(tmp_path: Path) -> None:
    data = make_demo_data(tmp_path / "data", num_cases=5, size_voxels=(8, 8, 8))
    next((data / "imagesTr").iterdir()).unlink()
    with pytest.raises(UserError, match="1 fault found, the first: demo_"):
        run_auto(str(data), tmp_path / "run")


def test_a_full_disk_is_one_line(demo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(tmp_path / "run", demo_set, tiny_schedule(demo_set))

    def full(path: Path, values: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(auto_record, "write_json", full)
    with pytest.raises(UserError, match="the disk is full; free space, and the same command goes on"):
        run_auto(str(demo_set), tmp_path / "run")


def test_progress_is_weighed_by_predicted_minutes(
    demo_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of seven minutes, check and plan take 0.1 each, search and choose 1 each, train 4."""
    monkeypatch.setattr("uxnet_eval.auto.progress.LOGGED_EVERY_S", 0.0)
    record = planned(tmp_path / "run", demo_set, tiny_schedule(demo_set))
    with OverallProgress(record, tmp_path / "run") as progress, caplog.at_level(logging.INFO):
        with progress.stage("search"), progress.run({"steps": 0.5, "measured": 0.5}):
            tell("steps", 0.5)
            assert progress.share == pytest.approx((0.2 + 0.25) / 7)
            tell("measured", 0.5)  # of a run that goes on: its steps were done before
            assert progress.share == pytest.approx((0.2 + 0.75) / 7)
            tell("other", 0.9)
            assert progress.share == pytest.approx((0.2 + 0.75) / 7)
        with progress.stage("train"), progress.run({"steps": 3.0, "scored": 1.0}, 0.25, 0.5):
            tell("steps", 1.0)
            assert progress.share == pytest.approx((2.2 + 4 * (0.25 + 0.25 * 0.75)) / 7)
    # Of train, 4.8 minutes are predicted for what is left, or its own pace: nearly no time so far.
    assert "train (5 of 7): 56 % of all, about 1 min left" in caplog.text


def test_the_table_fits_a_narrow_terminal(finished: Path) -> None:
    outcome = outcome_of(finished)
    console = Console(width=80, record=True)
    console.print(outcome_table(outcome))
    text = console.export_text()
    assert "…" not in text
    for label, row in outcome["networks"].items():
        assert label in text
        assert f"{row['parameters']:,}" in text
        assert f"{row['dice']:.4f}" in text
        assert "{:.3f} to {:.3f}".format(*row["interval_95"]) in text


def test_markdown_has_both_tables(finished: Path) -> None:
    record = AutoRecord.load(finished)
    assert record is not None
    lines = outcome_markdown(outcome_of(finished), record).splitlines()
    assert lines[0].startswith("| network | Dice | 95 % | large organ |")
    assert lines[-1].startswith("| all | 7.0 | ")


def test_the_table_in_the_folder_shows_the_time_of_the_report_too(finished: Path) -> None:
    rows = [line.split("|") for line in (finished / "table.md").read_text().splitlines()]
    (minutes,) = [float(cells[3]) for cells in rows if cells[1:2] == [" report "]]
    assert minutes > 0
