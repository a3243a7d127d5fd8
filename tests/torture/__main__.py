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
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .processes import import_everything
from .whole import PARTS, Amounts, malformed_inputs


def main() -> int:
    """Runs the campaign; returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of all that is tried, such as 0.1")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; repeat it for several")
    parser.add_argument("--other", type=Path, help="a folder on another file system than the temporary one")
    parser.add_argument("--slices", type=int, default=1, help="pieces that each part is tried in")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="keep the result of each slice there: the same command goes on with the slices that are not there, and "
        "the table is of all that are there",
    )
    parser.add_argument("--table", action="store_true", help="print the table of --results, and try nothing")
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
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in PARTS}
    for number, (name, part) in itertools.product(range(given.slices), PARTS.items()):
        kept = None if given.results is None else given.results / f"{name.replace(' ', '-')}-{number}.json"
        if kept is not None and kept.exists():
            slice_ = json.loads(kept.read_text())
            if {key: slice_[key] for key in about} != about:
                parser.error(f"{kept}: is of another machine, seed, share or number; give another --results")
        elif given.table or (given.only and name not in given.only):
            continue
        else:
            amounts = Amounts(given.share, number, given.slices)
            started = time.monotonic()
            # The inputs of all slices are those of one seed; kills of each slice come at other moments.
            seed = given.seed if part is malformed_inputs else f"{given.seed} {number}"
            with tempfile.TemporaryDirectory(dir=given.other) as scratch:
                tally = part(Path(scratch), amounts, random.Random(seed if number else given.seed))
            seconds = time.monotonic() - started
            slice_ = {**about, "tried": tally.tried, "wrong": tally.wrong, "seconds": seconds}
            print(f"{name}: {tally.tried} tried, {len(tally.wrong)} wrong", file=sys.stderr, flush=True)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(slice_, indent=1))
        found[name].append(slice_)
    print(f"\n{about['machine']}, seed {given.seed}\n")
    print("| part | slices | tried | right | wrong | minutes |\n| --- | --- | --- | --- | --- | --- |")
    faults = []
    for name, slices in found.items():
        if slices:
            tried, wrong = (
                sum(each["tried"] for each in slices),
                [line for each in slices for line in each["wrong"]],
            )
            minutes = sum(each["seconds"] for each in slices) / 60
            print(
                f"| {name} | {len(slices)} of {given.slices} | {tried} | {tried - len(wrong)} | {len(wrong)} | {minutes:.1f} |"
            )
            faults += wrong
    for line in faults:
        print(f"WRONG {line}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
