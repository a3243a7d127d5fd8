"""``uxnet auto`` and the folds: who may see the left-out cases, and folds or data that change during a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search_space import UserError
from tests.auto_runs import HOURS, planned, tiny_schedule
from tests.test_uxnet_eval_auto_fitting import FAST
from uxnet_eval.auto import planning
from uxnet_eval.auto import run as auto_run
from uxnet_eval.auto.needs import Needs
from uxnet_eval.auto.planning import plan_auto
from uxnet_eval.auto.record import AutoRecord, open_record
from uxnet_eval.auto.run import dry_run, run_auto
from uxnet_eval.dataset.demo_data import make_demo_data
from uxnet_eval.dataset.msd import Dataset, read_dataset
from uxnet_eval.training.preparation import prepare


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_demo_data(tmp_path / "data", num_cases=6, size_voxels=(24, 24, 16))


def ids_of(data: Path) -> list[str]:
    return [case.case_id for case in read_dataset(data).cases]


def give_folds(data: Path, *folds: tuple[Sequence[str], Sequence[str]]) -> None:
    splits = [{"train": list(learned), "val": list(held_out)} for learned, held_out in folds]
    (data / "splits_final.json").write_text(json.dumps(splits))


def test_folds_that_overlap_do_not_leak_the_left_out_cases(data: Path, tmp_path: Path) -> None:
    ids = ids_of(data)
    give_folds(data, (ids[2:], ids[:2]), (ids[3:], ids[:3]))
    schedule = tiny_schedule(data)
    assert schedule.choice is not None
    for config in (
        schedule.choice_config("U-Net", "preset:unet", schedule.choice),
        schedule.final_config("U-Net", "preset:unet", 1),
    ):
        training = prepare(config, tmp_path / "out", tmp_path)
        assert [case.case_id for case in training.held_out] == [ids[2]]
        assert [case.case_id for case in training.learned] == ids[3:]


def test_no_scan_of_a_left_out_patient_chooses(data: Path, tmp_path: Path) -> None:
    """Two scans of one patient, each alone in the validation part of a fold of its own."""
    ids = ids_of(data)
    rows = [f"{ids[0]},same", f"{ids[1]},same", *(f"{each},{each}" for each in ids[2:])]
    (data / "groups.csv").write_text("\n".join(["case,patient", *rows, ""]))
    give_folds(data, (ids[2:], ids[:1]), (ids[3:], [ids[1], ids[2]]))
    config = tiny_schedule(data).final_config("U-Net", "preset:unet", 1)
    training = prepare(config, tmp_path / "out", tmp_path)
    assert [case.case_id for case in training.held_out] == [ids[2]]


def test_two_folds_that_swap_their_parts_have_no_choice(data: Path, tmp_path: Path) -> None:
    ids = ids_of(data)
    give_folds(data, (ids[:3], ids[3:]), (ids[3:], ids[:3]))
    dataset = read_dataset(data)
    needs = Needs(tiny_schedule(data).search, FAST, 6, 0.0).of_folds(dataset)
    assert (needs.num_folds, needs.fold_cases, needs.seen_cases) == (1, 3, 3)
    config = tiny_schedule(data).final_config("U-Net", "preset:unet", 1)
    with pytest.raises(UserError, match="fold 1 has 0 cases to learn from and 3 to validate on"):
        prepare(config, tmp_path / "out", tmp_path)


def test_a_fold_that_learns_from_too_few(data: Path, tmp_path: Path) -> None:
    ids = ids_of(data)
    give_folds(data, (ids[:2], ids[2:]), (ids[3:], ids[:3]))
    message = "fold 0 leaves 2 cases of 2 patients to learn from, uxnet auto needs at least 3 of each"
    with pytest.raises(UserError, match=message):
        run_auto(str(data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_plan_does_not_see_the_left_out_fold(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, measured = ids_of(data), []
    give_folds(data, (ids[2:], ids[:2]), (ids[:4], ids[4:]))
    real = planning.measure

    def measure(dataset: Dataset, progress: Any) -> Any:
        measured.append([case.case_id for case in dataset.cases])
        return real(dataset, progress)

    monkeypatch.setattr(planning, "measure", measure)
    monkeypatch.setattr(planning, "time_steps", lambda config, dataset: replace(FAST, unet_step_s=1e-3))
    for left_out in (0, 1):
        plan_auto(read_dataset(data), HOURS, left_out_fold=left_out)
    assert measured == [ids[2:], ids[:4]]


def test_folds_that_change_during_a_run(data: Path, tmp_path: Path) -> None:
    ids = ids_of(data)
    planned(tmp_path / "run", data, tiny_schedule(data))
    give_folds(data, (ids[2:], ids[:2]), (ids[:4], ids[4:]))
    with pytest.raises(UserError, match="holds a run on Demo, with other cases, classes or folds than"):
        run_auto(str(data), tmp_path / "run")


def test_a_copy_of_the_data(data: Path, tmp_path: Path) -> None:
    planned(tmp_path / "run", data, tiny_schedule(data))
    copy = shutil.copytree(data, tmp_path / "copy")
    with pytest.raises(
        UserError, match=f"holds a run on the data in {data}; give that one, or add --from plan"
    ):
        run_auto(str(copy), tmp_path / "run")
    shutil.rmtree(data)
    with pytest.raises(UserError, match=f"is not there any more: ln -s {copy} {data}, and give that one"):
        run_auto(str(copy), tmp_path / "run")
    data.symlink_to(copy)
    dry_run(str(data), tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hours": 2.0}, "was planned for 5 hours"),
        ({"with_unet": False}, "holds a run with the U-Net"),
        ({"left_out_fold": 3}, "leaves out fold 0"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(
    data: Path, tmp_path: Path, arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(tmp_path / "run", data, tiny_schedule(data))
    before = (tmp_path / "run" / "auto.json").read_text()
    with pytest.raises(UserError, match=message):
        dry_run(str(data), tmp_path / "run", **arguments)
    monkeypatch.setattr(auto_run, "plan_auto", lambda *args, **kwargs: tiny_schedule(data))
    lines = dry_run(str(data), tmp_path / "run", begin_at="plan", **arguments)
    assert lines[0] == f"A schedule for {arguments.get('hours', HOURS):g} hours on this machine. Predicted:"
    assert (tmp_path / "run" / "auto.json").read_text() == before


def test_a_check_that_failed_takes_no_time_from_the_next(data: Path, tmp_path: Path) -> None:
    folder, dataset = tmp_path / "run", read_dataset(data)
    folder.mkdir()
    record = open_record(folder, dataset, HOURS, with_unet=True)
    record.stages["check"].spent_s = 7.0
    record.save(folder)
    assert open_record(folder, dataset, HOURS, with_unet=True).spent_s == 0.0
    record.stages["check"].done = True
    record.save(folder)
    assert open_record(folder, dataset, HOURS, with_unet=True).spent_s == 7.0
    assert AutoRecord.load(folder) is not None
