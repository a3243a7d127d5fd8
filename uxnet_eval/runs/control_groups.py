"""What a container, a Slurm job or a service may use of the machine: Linux control groups.

psutil and PyTorch do not know of them. A process beyond the memory of its group is killed; threads
beyond its processor time wait for each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def memory_left() -> int | None:
    """Bytes until the nearest limit around this process; cached files count as free."""
    left = []
    for group, version in _groups("memory"):
        limit_file, use_file, cache_row = {
            1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            2: ("memory.max", "memory.current", "inactive_file"),
        }[version]
        limit = _words(group / limit_file)
        if limit and limit[0] != "max":
            words = _words(group / "memory.stat")
            cache = int(words[words.index(cache_row) + 1])
            left.append(max(0, int(limit[0]) - int(_words(group / use_file)[0]) + cache))
    return min(left, default=None)


def cores() -> int | None:
    """The smallest limit of cores around this process, rounded up; None without one."""
    found = []
    for group, version in _groups("cpu"):
        if version == 2:
            words = _words(group / "cpu.max")  # "max 100000" or "150000 100000"
        else:
            words = _words(group / "cpu.cfs_quota_us") + _words(group / "cpu.cfs_period_us")
        if words and words[0] not in ("max", "-1"):
            found.append(math.ceil(int(words[0]) / int(words[1])))
    return min(found, default=None)


def _groups(controller: str) -> Iterator[tuple[Path, int]]:
    """The folders of the groups around this process, innermost first, and their version."""
    if not OWN_GROUPS.is_file():
        return
    for line in OWN_GROUPS.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        version, top = (1, MOUNTED / controller) if controllers else (2, MOUNTED)
        group = top / path.lstrip("/")
        # A container may be its own top, but read a path of the machine: the top alone exists then.
        for folder in (group, *group.parents[: len(group.parts) - len(top.parts)]):
            yield folder, version


def _words(path: Path) -> list[str]:
    """The words of a file; none if there is no such file, as in the top of version 2."""
    try:
        return path.read_text().split()
    except FileNotFoundError:
        return []
