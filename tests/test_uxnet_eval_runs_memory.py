"""The memory that a container or a job leaves, where psutil sees that of the whole machine."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from search_space import UserError
from uxnet_eval.planning.rules import free_memory_gib
from uxnet_eval.runs import memory


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN_CGROUPS", tmp_path / "own")
    return tmp_path


def _group(folder: Path, limit: int | str, use: int, cache: int, version: int = 2) -> None:
    limit_file, use_file, row = memory.V2_FILES if version == 2 else memory.V1_FILES
    folder.mkdir(parents=True, exist_ok=True)
    (folder / limit_file).write_text(f"{limit}\n")
    (folder / use_file).write_text(f"{use}\n")
    (folder / "memory.stat").write_text(f"anon {use - cache}\n{row} {cache}\n")


def test_without_control_groups_the_machine_counts(cgroups: Path) -> None:
    assert memory.available_bytes() == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_the_smallest_limit_around_the_process(cgroups: Path) -> None:
    (cgroups / "own").write_text("0::/slurm/job_7/step_0\n")
    _group(cgroups / "slurm" / "job_7" / "step_0", "max", 900, 0)
    _group(cgroups / "slurm" / "job_7", 1000, 900, 300)
    _group(cgroups / "slurm", 5000, 900, 0)
    assert memory.available_bytes() == 400


def test_version_1(cgroups: Path) -> None:
    (cgroups / "own").write_text("9:cpu,cpuacct:/here\n4:memory:/here\n0::/\n")
    _group(cgroups / "memory" / "here", 2000, 500, 100, version=1)
    _group(cgroups / "memory", 2**63 - 4096, 500, 100, version=1)  # no limit
    assert memory.available_bytes() == 1600


def test_a_container_that_reads_the_path_of_the_machine(cgroups: Path) -> None:
    (cgroups / "own").write_text("0::/docker/0123abcd\n")
    _group(cgroups, 3000, 1000, 0)
    assert memory.available_bytes() == 2000


def test_a_group_beyond_its_limit_leaves_nothing(cgroups: Path) -> None:
    (cgroups / "own").write_text("0::/\n")
    _group(cgroups, 1000, 1500, 0)
    assert memory.available_bytes() == 0


def test_plan_and_refusal_follow_the_limit(cgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (cgroups / "own").write_text("0::/\n")
    _group(cgroups, 2 * memory.GIB, memory.GIB, 0)
    assert free_memory_gib() == pytest.approx(0.8)
    memory.refuse_beyond_memory("a.nii.gz", "an image", 0.9 * memory.GIB, "cut it")
    with pytest.raises(UserError, match=r"an image needs at least 1\.5 GiB .* the 1 GiB that are free"):
        memory.refuse_beyond_memory("a.nii.gz", "an image", 1.5 * memory.GIB, "cut it")
