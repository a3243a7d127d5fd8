"""Kills, full disks and flipped bits: after each, the same command reaches the same result."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .faults import Disk
from .processes import Outcome, run
from .runs import Subject, fingerprint, half_written

MOST_STARTS = 40
"""After so many starts, a run that is killed again and again counts as stuck."""


@dataclass
class Tally:
    """How many faults there were, and what was wrong after one."""

    tried: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, what: str, *faults: str) -> None:
        self.tried += 1
        found = [fault for fault in faults if fault]
        if found:
            self.wrong.append(f"{what}: {'; '.join(found)}")


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing has happened to: its result, its duration, and what it did to the disk."""

    subject: Subject
    expected: dict[str, str]
    seconds: float
    touches: tuple[str, ...]


def undisturbed(subject: Subject, scratch: Path) -> Undisturbed:
    """Runs the subject twice, to know that it repeats itself, and counts what it does to the disk."""
    log = scratch / f"{subject.command}.touches"
    first = _go_on(subject, scratch / f"{subject.command}-first")
    second = run(
        subject.arguments(scratch / f"{subject.command}-second"),
        subject.place,
        is_short=False,
        prepare=lambda: Disk("count", log=log).install(),
    )
    assert second.code == 0, second.output
    expected = fingerprint(scratch / f"{subject.command}-first")
    assert expected == fingerprint(scratch / f"{subject.command}-second"), "the run does not repeat itself"
    return Undisturbed(subject, expected, first.seconds, tuple(log.read_text().splitlines()))


def kill_at_random(case: Undisturbed, number: int, scratch: Path, rng: random.Random, tally: Tally) -> None:
    """Kills runs at random moments until there were ``number`` kills; each run is gone on with to its end."""
    killed = 0
    while killed < number:
        output = scratch / "killed"
        shutil.rmtree(output, ignore_errors=True)
        moments: list[float] = []
        for _ in range(min(MOST_STARTS, number - killed)):
            moments.append(rng.uniform(0, case.seconds))
            outcome = run(case.subject.arguments(output), case.subject.place, kill_after_s=moments[-1])
            if outcome.code == 0:
                break
            killed += 1
            halves = half_written(output) if output.exists() else []
            tally.add(f"{case.subject.command} killed after {moments[-1]:.2f} s", *halves, outcome.fault)
        _compare(case, output, f"{case.subject.command} after kills at {moments}", tally)


def strike(case: Undisturbed, action: str, numbers: list[int], scratch: Path, tally: Tally) -> None:
    """Kills, or fills the disk, at the n-th touch of the disk for each n, and goes on."""
    for number in numbers:
        output = scratch / "struck"
        shutil.rmtree(output, ignore_errors=True)
        outcome = run(
            case.subject.arguments(output),
            case.subject.place,
            is_short=False,
            prepare=Disk(action, number).install,  # type: ignore[arg-type]
        )
        touch = case.touches[number - 1] if number <= len(case.touches) else "?"
        what = f"{case.subject.command}, {action} at touch {number} ({touch})"
        halves = half_written(output) if output.exists() else []
        fault = f"{outcome.fault}: {outcome.output[-1200:]}" if outcome.fault else ""
        tally.add(what, *halves, fault)
        _compare(case, output, f"{what}, gone on", tally)


def flip_bits(
    source: Path,
    names: list[str],
    command: Callable[[Path], list[str]],
    expected: Callable[[Path], object],
    place: Path,
    number: int,
    scratch: Path,
    rng: random.Random,
    tally: Tally,
) -> None:
    """Flips a bit of a file and reads it back: the result is what it was, or one line says what is wrong.

    Args:
        source: a finished run.
        names: of files in it.
        command: the arguments that read a copy of the run.
        expected: what the command leaves, of a copy of the run; compared with that of the run itself.
        place: the current folder for the command.
        number: flips for each file.
        scratch: for copies.
        rng: where the flips are.
        tally: counts.
    """
    whole = scratch / "whole"
    shutil.copytree(source, whole)
    outcome = run(command(whole), place, is_short=False)
    assert outcome.code == 0, outcome.output
    right = expected(whole)
    shutil.rmtree(whole)
    for name in names:
        for _ in range(number):
            copy = whole  # of the same name: paths in the results are equal
            shutil.copytree(source, copy)
            content = bytearray((copy / name).read_bytes())
            position = rng.randrange(len(content))
            content[position] ^= 1 << rng.randrange(8)
            (copy / name).write_bytes(content)
            outcome = run(command(copy), place, is_short=False)
            other = outcome.code == 0 and expected(copy) != right
            tally.add(
                f"{name}, a bit of byte {position} flipped, {command(Path('.'))[0]}",
                outcome.fault,
                "another result, without a word" if other else "",
            )
            shutil.rmtree(copy)


def _go_on(subject: Subject, output: Path) -> Outcome:
    outcome = run(subject.arguments(output), subject.place, is_short=False)
    assert outcome.code == 0, outcome.output
    return outcome


def _compare(case: Undisturbed, output: Path, what: str, tally: Tally) -> None:
    """Goes on to the end and compares every file with that of the undisturbed run."""
    outcome = run(case.subject.arguments(output), case.subject.place, is_short=False)
    if outcome.code != 0:
        tally.add(what, f"does not go on: {outcome.output[-300:]}")
        return
    found = fingerprint(output)
    differ = [
        name for name in sorted(case.expected.keys() | found) if case.expected.get(name) != found.get(name)
    ]
    tally.add(what, f"{', '.join(differ)} differ" if differ else "", outcome.fault)
