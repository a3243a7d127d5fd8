"""The parts of the campaign, and how much of each is tried."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from search_space import Genotype

from .campaign import Tally, Undisturbed, flip_bits, kill_at_random, strike, undisturbed
from .inputs import Malformed, all_inputs, prepare
from .processes import run
from .runs import CONFIGS, Subject, fingerprint, make_place

GOLDEN = Path(__file__).parents[1] / "golden"
FEW = 24
"""Touches of the disk that are struck for each command, in the whole campaign."""


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

    def chosen(self, everything: list[Malformed]) -> list[Malformed]:
        """This slice of what is tried; the slices have nothing in common."""
        tried = everything[: max(1, round(self.share * len(everything)))]
        return tried[self.slice_number :: self.num_slices]


def malformed_inputs(scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
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


def random_kills(scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
    """Killed at random moments: the result is the undisturbed one."""
    tally = Tally()
    for case in _cases(scratch):
        kill_at_random(case, amounts.of(20), scratch, rng, tally)
    return tally


def aimed_kills(scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
    """Killed just before a write, a rename, a flush: the result is the undisturbed one."""
    tally = Tally()
    for case in _cases(scratch):
        strike(case, "kill", _touches(case, amounts.of(FEW), rng), scratch, tally)
    return tally


def full_disks(scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
    """The disk is full from some write on: one line; with room again, the undisturbed result."""
    tally = Tally()
    for case in _cases(scratch):
        strike(case, "full", _touches(case, amounts.of(FEW), rng), scratch, tally)
    return tally


def flipped_bits(scratch: Path, amounts: Amounts, rng: random.Random) -> Tally:
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


def _cases(scratch: Path) -> list[Undisturbed]:
    place = make_place(_folder(scratch / "place"))
    return [undisturbed(Subject(command, place), scratch) for command in CONFIGS]


def _touches(case: Undisturbed, number: int, rng: random.Random) -> list[int]:
    """Numbers of touches to strike: half of them renames, flushes and openings, which are few."""
    plain = [place for place, what in enumerate(case.touches, 1) if what == "write"]
    rare = [place for place, what in enumerate(case.touches, 1) if what != "write"]
    half = (number + 1) // 2
    return sorted(rng.sample(rare, min(half, len(rare))) + rng.sample(plain, min(number - half, len(plain))))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


PARTS: dict[str, Callable[[Path, Amounts, random.Random], Tally]] = {
    "malformed inputs": malformed_inputs,
    "kills at random moments": random_kills,
    "kills before a write": aimed_kills,
    "full disks": full_disks,
    "flipped bits": flipped_bits,
}
