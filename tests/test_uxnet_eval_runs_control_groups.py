"""The memory and cores that a container or a job leaves, where psutil and PyTorch see the whole machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from search_space import UserError
from uxnet_eval.planning.rules import free_memory_gib
from uxnet_eval.runs import control_groups
from uxnet_eval.runs.memory import GIB, available_bytes, refuse_beyond_memory

ROOT = Path(__file__).parent.parent


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(control_groups, "MOUNTED", tmp_path)
    monkeypatch.setattr(control_groups, "OWN_GROUPS", tmp_path / "own")
    return tmp_path


def _write(folder: Path, **files: str) -> None:
    """Writes files of a group; ``memory_max`` stands for ``memory.max``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text + "\n")


def test_without_control_groups(mounted: Path) -> None:
    assert control_groups.memory_left() is None
    assert control_groups.cores() is None
    assert available_bytes() == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_the_smallest_limit_around_the_process(mounted: Path) -> None:
    _write(mounted, own="0::/slurm/job_7/step_0")
    step, job, slurm = (mounted / name for name in ("slurm/job_7/step_0", "slurm/job_7", "slurm"))
    _write(step, memory_max="max", memory_current="900", memory_stat="anon 900\ninactive_file 0")
    _write(job, memory_max="1000", memory_current="900", memory_stat="anon 600\ninactive_file 300")
    _write(slurm, memory_max="5000", memory_current="900", memory_stat="anon 600\ninactive_file 300")
    _write(step, cpu_max="max 100000")
    _write(job, cpu_max="350000 100000")
    assert control_groups.memory_left() == 400
    assert available_bytes() == 400
    assert control_groups.cores() == 4


def test_version_1(mounted: Path) -> None:
    _write(mounted, own="9:cpu,cpuacct:/here\n4:memory:/here\n0::/")
    stat = "inactive_file 7\ntotal_inactive_file 100"
    memory, cpu = mounted / "memory", mounted / "cpu"
    _write(memory / "here", memory_limit_in_bytes="2000", memory_usage_in_bytes="500", memory_stat=stat)
    _write(memory, memory_limit_in_bytes=str(2**63 - 4096), memory_usage_in_bytes="9", memory_stat=stat)
    _write(cpu / "here", cpu_cfs_quota_us="50000", cpu_cfs_period_us="100000")
    _write(cpu, cpu_cfs_quota_us="-1", cpu_cfs_period_us="100000")
    assert control_groups.memory_left() == 1600
    assert control_groups.cores() == 1


def test_a_container_that_reads_a_path_of_the_machine(mounted: Path) -> None:
    _write(mounted, own="0::/docker/0123abcd", memory_max="3000", memory_current="1000")
    _write(mounted, memory_stat="inactive_file 0")
    assert control_groups.memory_left() == 2000


def test_plan_and_refusal_follow_the_limit(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    _write(mounted, own="0::/", memory_max=str(2 * GIB), memory_current=str(GIB))
    _write(mounted, memory_stat="inactive_file 0")
    assert free_memory_gib() == pytest.approx(0.8)
    refuse_beyond_memory("a.nii.gz", "an image", 0.9 * GIB, "cut it")
    with pytest.raises(UserError, match=r"an image needs at least 1\.5 GiB .* the 1 GiB that are free"):
        refuse_beyond_memory("a.nii.gz", "an image", 1.5 * GIB, "cut it")
    _write(mounted, memory_current=str(3 * GIB))
    assert available_bytes() == 0


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("7", "7")])
def test_threads_follow_the_limit_unless_the_user_names_them(
    mounted: Path, given: str | None, expected: str
) -> None:
    _write(mounted, own="0::/", cpu_max="100000 100000")
    program = (
        "import os, pathlib, sys\n"
        "from uxnet_eval import cli\n"
        "from uxnet_eval.runs import control_groups\n"
        f"control_groups.MOUNTED = pathlib.Path({str(mounted)!r})\n"
        "control_groups.OWN_GROUPS = control_groups.MOUNTED / 'own'\n"
        "sys.argv = ['uxnet', '--version']\n"
        "try:\n    cli.main()\nfinally:\n    print(os.environ['OMP_NUM_THREADS'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if given:
        environment["OMP_NUM_THREADS"] = given
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == expected, done.stderr
