"""``make torture``: all of it, and a table of what was tried, right and lost."""

from __future__ import annotations

import argparse
import platform
import random
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from .processes import import_everything
from .whole import PARTS, Amounts


def main() -> int:
    """Runs the campaign; returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of all that is tried, such as 0.1")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; repeat it for several")
    parser.add_argument("--other", type=Path, help="a folder on another file system than the temporary one")
    given = parser.parse_args()
    import_everything()
    rows, wrong = [], []
    for name, part in PARTS.items():
        if given.only and name not in given.only:
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=given.other) as scratch:
            tally = part(Path(scratch), Amounts(given.share), random.Random(given.seed))
        rows.append((name, tally.tried, tally.tried - len(tally.wrong), time.monotonic() - started))
        wrong += tally.wrong
        print(f"{name}: {tally.tried} tried, {len(tally.wrong)} wrong", file=sys.stderr, flush=True)
    print(f"\n{platform.machine()}, {platform.system()}, Python {platform.python_version()}, ", end="")
    print(", ".join(f"{name} {version(name)}" for name in ("torch", "pytorch-lightning", "nni")))
    print(f"seed {given.seed}\n\n| part | tried | right | wrong | minutes |\n| --- | --- | --- | --- | --- |")
    for name, tried, right, seconds in rows:
        print(f"| {name} | {tried} | {right} | {tried - right} | {seconds / 60:.1f} |")
    for line in wrong:
        print(f"WRONG {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
