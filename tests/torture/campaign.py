"""Kills, full disks and flipped bits: after each, the same command reaches the same result."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .faults import Action, Disk
from .processes import Outcome, run
from .runs import CONFIGS, Subject, fingerprint, half_written, make_place

MOST_STARTS = 40
"""After so many starts, a run that is killed again and again counts as stuck."""


@dataclass
class Tally:
    """How many checks there were, what was wrong, and how many processes were killed for them."""

    tried: int = 0
    kills: int = 0
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


class Ground:
    """Where the campaign is: a folder for all of it, and the undisturbed runs, made once for all slices.

    Args:
        folder: for everything.
        temporary: the temporary folder of some runs, on another file system than ``folder``.
    """

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder, self.temporary = folder, temporary

    @cached_property
    def cases(self) -> list[Undisturbed]:
        place, scratch = self.folder / "undisturbed", self.folder / "undisturbed-runs"
        place.mkdir()
        scratch.mkdir()
        make_place(place)
        return [undisturbed(Subject(command, place), scratch) for command in CONFIGS]


class TemporaryFolder:
    """A temporary folder for a run, which must be empty when the run has ended, however it ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def use(self) -> None:
        """Makes it that of this process."""
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.folder)

    def left(self) -> list[str]:
        """What is in it; it is deleted."""
        found = [path.name for path in self.folder.iterdir()]
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return [f"{name} is left in the temporary folder" for name in found]


def kill_at_random(
    case: Undisturbed,
    number: int,
    scratch: Path,
    rng: random.Random,
    tally: Tally,
    temporary: TemporaryFolder | None = None,
) -> None:
    """Kills runs at random moments until there were ``number`` kills; each run is gone on with to its end."""
    killed = 0
    while killed < number:
        output = scratch / "killed"
        shutil.rmtree(output, ignore_errors=True)
        moments: list[float] = []
        for _ in range(min(MOST_STARTS, number - killed)):
            moments.append(rng.uniform(0, case.seconds))
            outcome = run(
                case.subject.arguments(output),
                case.subject.place,
                kill_after_s=moments[-1],
                prepare=temporary.use if temporary else None,
            )
            if outcome.code == 0:
                break
            killed += 1
            faults = half_written(output) if output.exists() else []
            faults += temporary.left() if temporary else []
            tally.add(f"{case.subject.command} killed after {moments[-1]:.2f} s", *faults, outcome.fault)
            tally.kills += outcome.code == -signal.SIGKILL
        compare(case, output, f"{case.subject.command} after kills at {moments}", tally)


def strike(
    case: Undisturbed,
    action: Action,
    numbers: list[int],
    scratch: Path,
    tally: Tally,
    temporary: TemporaryFolder | None = None,
) -> None:
    """Kills, or fills the disk, at the n-th touch of the disk for each n, and goes on."""
    for number in numbers:
        output = scratch / "struck"
        shutil.rmtree(output, ignore_errors=True)
        outcome = run(
            case.subject.arguments(output),
            case.subject.place,
            is_short=False,
            prepare=_struck(action, number, temporary),
        )
        touch = case.touches[number - 1] if number <= len(case.touches) else "?"
        what = f"{case.subject.command}, {action} at touch {number} ({touch})"
        faults = half_written(output) if output.exists() else []
        faults += temporary.left() if temporary else []
        fault = f"{outcome.fault}: {outcome.output[-1200:]}" if outcome.fault else ""
        tally.add(what, *faults, fault)
        tally.kills += outcome.code == -signal.SIGKILL
        compare(case, output, f"{what}, gone on", tally)


def _struck(action: Action, number: int, temporary: TemporaryFolder | None) -> Callable[[], None]:
    def prepare() -> None:
        if temporary:
            temporary.use()
        Disk(action, number).install()

    return prepare


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


def compare(case: Undisturbed, output: Path, what: str, tally: Tally) -> None:
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
