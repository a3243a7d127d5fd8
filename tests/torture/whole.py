"""The parts of the campaign, and how much of each is tried."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from search_space import Genotype

from .campaign import Ground, Tally, TemporaryFolder, Undisturbed, flip_bits, kill_at_random, strike
from .faults import kind_of
from .inputs import Malformed, all_inputs, prepare
from .managers import kill_managers
from .processes import run
from .runs import Subject, fingerprint, make_place
from .together import start_twice, stop_for_a_while

Something = TypeVar("Something")
GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class Amounts:
    """How much is tried: a share of the whole campaign, or one of the slices of that share.

    Attributes:
        share: of the whole campaign.
        slice_number: from 0.
        num_slices: that make up the share.
    """

    share: float = 1.0
    slice_number: int = 0
    num_slices: int = 1

    def of(self, number: int) -> int:
        return max(1, round(self.share * number / self.num_slices))

    def chosen(self, everything: list[Something]) -> list[Something]:
        """This slice of what is tried; the slices have nothing in common."""
        tried = everything[: max(1, round(self.share * len(everything)))]
        return tried[self.slice_number :: self.num_slices]


def malformed_inputs(_: Ground, scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
    """Each input of a command is malformed in one way: one line, in time, and nothing is half written."""
    valid, tally = prepare(_folder(scratch / "valid"), GOLDEN), Tally()
    for malformed in amounts.chosen(all_inputs(valid, rng)):
        place = scratch / "place"
        shutil.copytree(valid, place, symlinks=True)
        malformed.change(place)
        tally.add(malformed.name, *_faults(malformed, place))
        shutil.rmtree(place)
    return tally


def _faults(malformed: Malformed, place: Path) -> list[str]:
    outcome = run(malformed.arguments, place)
    faults = [outcome.fault]
    if outcome.code == 0 and not malformed.harmless:
        faults.append("no error")
    if outcome.code != 0 and malformed.absent and (place / malformed.absent).exists():
        faults.append(f"{malformed.absent} is there")
    faults += [f"{path.name} is left" for path in place.rglob(".*.part*")]
    if any(faults):
        faults.append(outcome.output[-400:])
    return faults


def random_kills(ground: Ground, scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
    """Killed at random moments: the result is the undisturbed one."""
    tally = Tally()
    for case in ground.cases:
        kill_at_random(case, amounts.of(20), scratch, rng, tally)
    return tally


def aimed_kills(ground: Ground, scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
    """Killed just before each kind of write, rename, flush, deletion: the result is the undisturbed one."""
    tally = Tally()
    for case in ground.cases:
        strike(case, "kill", _touches(case, amounts, rng), scratch, tally)
    return tally


def kills_across(ground: Ground, scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
    """Killed at random and before writes, with the temporary folder on another file system."""
    with tempfile.TemporaryDirectory(dir=ground.temporary) as folder:
        assert os.stat(folder).st_dev != os.stat(scratch).st_dev
        tally, temporary = Tally(), TemporaryFolder(Path(folder))
        for case in ground.cases:
            kill_at_random(case, amounts.of(10), scratch, rng, tally, temporary)
            touches = rng.sample(range(1, len(case.touches) + 1), amounts.of(10))
            strike(case, "kill", touches, scratch, tally, temporary)
    return tally


def full_disks(ground: Ground, scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
    """The disk is full from each kind of write on: one line; with room again, the undisturbed result."""
    tally = Tally()
    for case in ground.cases:
        strike(case, "full", _touches(case, amounts, rng, {"replace", "unlink"}), scratch, tally)
    return tally


def two_processes(ground: Ground, scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
    """Two processes want one folder: one waits or is refused, and the result is the undisturbed one."""
    tally = Tally()
    for case in ground.cases:
        start_twice(case, amounts.of(6), scratch, rng, tally)
    return tally


def stopped_processes(ground: Ground, scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
    """A process is stopped and goes on: it keeps its folder, and the result is the undisturbed one."""
    tally = Tally()
    for case in ground.cases:
        stop_for_a_while(case, amounts.of(6), scratch, rng, tally)
    return tally


def flipped_bits(_: Ground, scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
    """A bit of a file that is read back is another one: noticed, or without effect."""
    place, tally = make_place(_folder(scratch / "place")), Tally()
    for command in ("train", "search"):
        outcome = run(Subject(command, place).arguments(scratch / command), place, is_short=False)
        assert outcome.code == 0, outcome.output
        (scratch / command / "result.json").unlink()  # so that the run goes on from its checkpoint
    (scratch / "scans").mkdir()
    shutil.copy(next((place / "data" / "imagesTr").glob("*.nii.gz")), scratch / "scans")

    def predict(run_folder: Path) -> list[str]:
        shutil.rmtree(scratch / "out", ignore_errors=True)
        return [
            "predict",
            "-i",
            str(scratch / "scans"),
            "-o",
            str(scratch / "out"),
            "--checkpoint",
            str(run_folder / "best.pt"),
        ]

    def labels(_: Path) -> list[bytes]:
        return [path.read_bytes() for path in sorted((scratch / "out").glob("*.nii.gz"))]

    def export(run_folder: Path) -> list[str]:
        return ["export", str(run_folder), "-o", str(scratch / "genotype.json"), "--force"]

    def genotype(_: Path) -> Genotype:
        return Genotype.load(scratch / "genotype.json")

    def report(run_folder: Path) -> list[str]:
        return ["train", "--config", "train.yml", "--output", str(run_folder)]

    def train(run_folder: Path) -> dict[str, str]:
        return {
            name: value
            for name, value in fingerprint(run_folder).items()
            if name not in ("run.yml", "checkpoint.previous.ckpt")
        }

    several = amounts.of(12)
    flip_bits(scratch / "train", ["best.pt"], predict, labels, place, several, scratch, rng, tally)
    flip_bits(scratch / "search", ["search.json"], export, genotype, place, several, scratch, rng, tally)
    names = ["checkpoint.ckpt", "folds.json", "run.yml"]  # a flipped bit of run.yml stays in it
    flip_bits(scratch / "train", names, report, train, place, several, scratch, rng, tally)
    return tally


def killed_managers(ground: Ground, scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
    """NNI's manager dies with trials unfinished: resumed, all trials end with the undisturbed results."""
    tally = Tally()
    kill_managers(ground.folder / "experiment", amounts.of(10), scratch, rng, tally)
    return tally


def _touches(
    case: Undisturbed, amounts: Amounts, rng: random.Random, needless: Collection[str] = ()
) -> list[int]:
    """Numbers of touches to strike: one of each kind; the slices share the kinds.

    Args:
        case: the run.
        amounts: which share of the kinds.
        rng: which touch of a kind.
        needless: kinds that are left out.
    """
    of_kind: dict[str, list[int]] = {}
    for number, what in enumerate(case.touches, 1):
        of_kind.setdefault(kind_of(what), []).append(number)
    kinds = [kind for kind in sorted(of_kind) if kind not in needless]
    return sorted(rng.choice(of_kind[kind]) for kind in amounts.chosen(kinds))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


PARTS: dict[str, Callable[[Ground, Path, Amounts, random.Random], Tally]] = {
    "malformed inputs": malformed_inputs,
    "kills at random moments": random_kills,
    "kills before a write": aimed_kills,
    "kills across two file systems": kills_across,
    "full disks": full_disks,
    "flipped bits": flipped_bits,
    "two processes in a folder": two_processes,
    "stopped processes": stopped_processes,
    "killed managers": killed_managers,
}
