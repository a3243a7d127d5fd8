"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search_space.reading import read_json
from search_space.replacing import leftovers, replacing
from uxnet_eval.runs.files import write_files, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_old_content_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "case.nii.gz"
    target.write_text("old")
    with replacing(target) as part:
        part.write_text("new")
        assert target.read_text() == "old"
        assert part.parent == tmp_path and part.name.startswith(".") and part.name.endswith(".nii.gz")
    assert target.read_text() == "new"
    assert names(tmp_path) == ["case.nii.gz"]


def test_an_error_leaves_the_old_content_alone(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    write_json(target, {"default": 1})
    with pytest.raises(RuntimeError, match="half"), replacing(target) as part:
        part.write_text("half")
        raise RuntimeError("half")
    assert read_json(target) == {"default": 1}
    assert names(tmp_path) == ["result.json"]


def test_mode_is_that_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "run.yml", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "run.yml").stat().st_mode & 0o777 == 0o640


def test_content_is_on_the_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    flush, rename = os.fsync, os.replace

    def noted_flush(handle: int) -> None:
        done.append("flush of the " + ("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file"))
        flush(handle)

    def noted_rename(source: Path, target: Path) -> None:
        done.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_flush)
    monkeypatch.setattr(os, "replace", noted_rename)
    write_text(tmp_path / "run.yml", "x")
    assert done == ["flush of the file", "rename", "flush of the folder"]


def test_a_folder_takes_the_place_of_an_empty_one_only(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "own").touch()
    with replacing(tmp_path / "empty") as part:
        part.mkdir()
        (part / "inner.txt").write_text("x")
    assert (tmp_path / "empty" / "inner.txt").read_text() == "x"
    with pytest.raises(OSError, match="not empty"), replacing(tmp_path / "full") as part:
        part.mkdir()
    assert names(tmp_path) == ["empty", "full"] and names(tmp_path / "full") == ["own"]


def test_several_files_are_replaced_all_or_none(tmp_path: Path) -> None:
    write_files({tmp_path / "a": b"old", tmp_path / "b": b"old"})
    with pytest.raises(FileNotFoundError):
        write_files({tmp_path / "a": b"new", tmp_path / "absent" / "b": b"new"})
    assert (tmp_path / "a").read_bytes() == b"old" and names(tmp_path) == ["a", "b"]
    write_files({tmp_path / "a": b"new", tmp_path / "b": b"new"})
    assert (tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes() == b"newnew"


def test_a_killed_writer_leaves_a_hidden_file_that_can_be_found(tmp_path: Path) -> None:
    target = tmp_path / "best.pt"
    script = (
        "import pathlib, time\nfrom search_space.replacing import replacing\n"
        f"with replacing(pathlib.Path({str(target)!r})) as part:\n    part.write_bytes(b'half'); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[1]) as process:
        deadline_s = time.monotonic() + 60
        while not leftovers(target) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        process.kill()
    [left] = leftovers(target)
    assert names(tmp_path) == [left.name] and left.name.startswith(".")
    assert leftovers(tmp_path / "last.pt") == []
