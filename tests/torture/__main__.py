"""``make torture``: all of it, and a table of what was tried, right and lost."""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .campaign import Ground
from .processes import import_everything
from .whole import PARTS, Amounts, malformed_inputs

Slice = dict[str, Any]
"""What came out of one slice of one part: seed, number of checks, what was wrong, and so on."""


def main() -> int:
    """Runs the campaign; returns 1 if anything was wrong."""
    parser = _parser()
    given = parser.parse_args()
    about = {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("torch", "pytorch-lightning", "nni")),
        "seed": given.seed,
        "share": given.share,
        "slices": given.slices,
    }
    if not given.table:
        import_everything()
    found: dict[str, list[Slice]] = {name: [] for name in PARTS}
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder), given.other)
        if not given.other.is_dir() or given.other.stat().st_dev == ground.folder.stat().st_dev:
            parser.error(f"--other {given.other}: give a folder on another file system than {folder}")
        for number, name in itertools.product(range(given.slices), PARTS):
            kept = (
                None if given.results is None else given.results / f"{name.replace(' ', '-')}-{number}.json"
            )
            if kept is not None and kept.exists():
                slice_ = json.loads(kept.read_text())
                if {key: slice_[key] for key in about} != about:
                    parser.error(
                        f"{kept}: is of another machine, seed, share or number; give another --results"
                    )
            elif given.table or (given.only and name not in given.only):
                continue
            else:
                slice_ = {
                    **about,
                    **_try(name, ground, Amounts(given.share, number, given.slices), given.seed),
                }
                if kept is not None:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.write_text(json.dumps(slice_, indent=1))
            found[name].append(slice_)
    print(f"\n{about['machine']}, seed {given.seed}\n\n{table(found, given.slices)}")
    faults = [line for slices in found.values() for each in slices for line in each["wrong"]]
    for line in faults:
        print(f"WRONG {line}")
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of all that is tried, such as 0.1")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; repeat it for several")
    parser.add_argument(
        "--other",
        type=Path,
        default=Path("/dev/shm"),
        help="a folder on another file system than the temporary one (default: /dev/shm)",
    )
    parser.add_argument("--slices", type=int, default=1, help="pieces that each part is tried in")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="keep the result of each slice there: the same command goes on with the slices that are not there, and "
        "the table is of all that are there",
    )
    parser.add_argument("--table", action="store_true", help="print the table of --results, and try nothing")
    return parser


def _try(name: str, ground: Ground, amounts: Amounts, seed: int) -> Slice:
    """Tries one slice of one part."""
    part, started = PARTS[name], time.monotonic()
    # The inputs of all slices are those of one seed; kills of each slice come at other moments.
    is_first = part is malformed_inputs or not amounts.slice_number
    rng = random.Random(seed if is_first else f"{seed} {amounts.slice_number}")
    with tempfile.TemporaryDirectory(dir=ground.folder) as scratch:
        tally = part(ground, Path(scratch), amounts, rng)
    print(f"{name}: {tally.tried} checks, {len(tally.wrong)} wrong", file=sys.stderr, flush=True)
    seconds = time.monotonic() - started
    return {"kills": tally.kills, "tried": tally.tried, "wrong": tally.wrong, "seconds": seconds}


def table(found: Mapping[str, list[Slice]], num_slices: int) -> str:
    """The outcome of each part that has been tried, in Markdown."""
    lines = ["| part | slices | kills | checks | right | wrong | minutes |", "| --- " * 7 + "|"]
    for name, slices in found.items():
        if slices:
            kills, checks = (sum(each.get(key, 0) for each in slices) for key in ("kills", "tried"))
            wrong = sum(len(each["wrong"]) for each in slices)
            minutes = sum(each["seconds"] for each in slices) / 60
            lines.append(
                f"| {name} | {len(slices)} of {num_slices} | {kills or ''} | {checks} | {checks - wrong} | {wrong} "
                f"| {minutes:.1f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
