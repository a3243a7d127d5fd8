"""Faults that would pass without a word, or with a traceback: palettes, empty labels, files that cannot be written."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from finished_trainings import made_up_training
from PIL import Image

from search_space.errors import UserError
from uxnet_eval import cli
from uxnet_eval.comparison.trainings import find_trainings
from uxnet_eval.config.plan import Plan
from uxnet_eval.dataset.image_file import read_file
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.preprocessing.prepared_cases import PreparedCases

ROOT = Path(__file__).parents[1]


def palette_picture(path: Path) -> np.ndarray:
    """Writes a PNG of 4 colours out of a table and returns the colours' numbers."""
    numbers = np.arange(64, dtype=np.uint8).reshape(8, 8) % 4
    picture = Image.fromarray(numbers, mode="L").convert("P")
    picture.putdata(numbers.ravel().tolist())
    picture.putpalette([value for colour in range(4) for value in (colour * 60, 255 - colour * 60, 7)])
    picture.save(path)
    return numbers


def test_a_palette_is_no_intensity_but_a_label(tmp_path: Path) -> None:
    numbers = palette_picture(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"^a: .*a\.png: found a palette, .* expected grey or RGB; convert"):
        read_file("a", tmp_path / "a.png", 2)
    stored, _ = read_file("a", tmp_path / "a.png", 2, is_label=True)
    assert np.array_equal(stored, numbers)
    Image.open(tmp_path / "a.png").convert("RGB").save(tmp_path / "rgb.png")
    assert read_file("a", tmp_path / "rgb.png", 2)[0].shape == (8, 8, 3)


def test_cases_without_any_foreground_teach_nothing(demo_set: Path) -> None:
    dataset = read_dataset(demo_set)
    plan = Plan(spacing_mm=(1, 1, 1), patch_size=(16, 16, 16), strides=((2, 2, 2),), batch_size=1)
    prepared = PreparedCases(dataset.cases[:2], dataset, plan)
    assert prepared.with_foreground() is prepared
    for item in (prepared[0], prepared[1]):
        item["foreground"][:] = [voxels[:0] for voxels in item["foreground"]]
    with pytest.raises(UserError, match=r"^Demo: found no foreground in any of the 2 cases to learn from"):
        prepared.with_foreground()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.EACCES, "Permission denied", "/x/a.nii"),
            "/x/a.nii: Permission denied; uxnet --traceback shows where",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "a file: No space left on device; free space"),
        (OSError(errno.EACCES, "Permission denied", "a\x1b[31m"), r"a\x1b[31m: Permission denied"),
        (MemoryError("1 TiB"), "the memory of this machine is not enough (1 TiB); use a smaller patch"),
    ],
)
def test_a_fault_of_the_machine_is_one_line(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(cli, "_wants_traceback", False)  # another test may have asked for it
    monkeypatch.setattr(cli, "_report_to_stderr", lambda: None)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith(f"uxnet: error: {line}") and said.count("\n") == 1
    monkeypatch.setattr(cli, "_wants_traceback", True)
    with pytest.raises(type(error)):
        cli.main()


@pytest.mark.parametrize("redirection", ["| head -n 1", ">&-", "> /dev/full"])
def test_a_closed_stdout_is_no_traceback(redirection: str) -> None:
    command = f"'{sys.executable}' -m uxnet_eval.cli experiments list {redirection}"
    run = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in run.stderr and "Exception ignored" not in run.stderr
    assert len(run.stderr.splitlines()) <= 1


def test_a_home_that_cannot_be_written_is_no_fault_of_a_command_that_does_not_need_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uxnet_eval.cli", "demo-data", str(tmp_path / "data")]
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={"HOME": "/proc", "PATH": "/usr/bin:/bin", "MPLCONFIGDIR": "/proc/x"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0 and "Traceback" not in run.stderr
    assert (tmp_path / "data" / "dataset.json").is_file()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fold", [[]]),
        ("seed", 10**30),
        ("multiply_adds", 0),
        ("parameters", -1),
        ("minutes", "x"),
        ("default", None),
    ],
)
def test_a_result_with_a_number_that_is_none_is_left_out_of_comparisons(
    tmp_path: Path, key: str, value: object
) -> None:
    path = made_up_training(tmp_path / "a", "searched", {"A": (0.5, 0.5)}) / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    made_up_training(tmp_path / "b", "dynunet", {"A": (0.5, 0.5)})
    found = find_trainings([str(tmp_path)])
    assert [training.folder.name for training in found.finished] == ["b"]
    [note] = found.notes
    assert f"result.json: {key}: expected a number; train it again" in note
