"""What the verification of checksums costs when a network, a stopped training and prepared cases are loaded.

    python -m benchmarks.verification

Files lie in the system's memory, where verification costs most beside the rest. Its own time is taken while
each is loaded. The times are processor time, medians of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import yaml

from uxnet_eval.config.plan import Plan
from uxnet_eval.dataset.demo_data import make_demo_data
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.networks.checkpoint import load_model
from uxnet_eval.preprocessing import prepared_cases
from uxnet_eval.preprocessing.patch_stream import PatchStream
from uxnet_eval.preprocessing.prepared_cases import PreparedCases
from uxnet_eval.runs import archive, verified_reading
from uxnet_eval.runs.names import BEST_NAME, CHECKPOINT_NAME
from uxnet_eval.training.module import TrainModule
from uxnet_eval.training.run import run_training

VERIFYING: tuple[tuple[Any, str], ...] = (
    (prepared_cases, "check_archive"),
    (verified_reading, "crc32"),
    (verified_reading._VerifiedFile, "__init__"),
    (verified_reading._VerifiedFile, "check_rest"),
)
"""What verifies, where it is called."""
PLAN = {
    "spacing_mm": [1.0] * 3,
    "patch_size": [32] * 3,
    "strides": [[2, 2, 2]] * 4,
    "batch_size": 1,
}
SIZE_VOXELS = (128, 128, 128)
NUM_PATCHES = 50


def seconds(load: Callable[[], object]) -> tuple[float, float]:
    """Processor time of loading once: of verification, and of all else.

    Verification is each checksum, the directory and headers of each archive, and the pass over a
    prepared case.
    """
    archive._verified.clear()
    verifying, depth = 0.0, 0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            nonlocal verifying, depth
            begin, depth = time.process_time(), depth + 1
            try:
                return function(*given)
            finally:
                depth -= 1
                if not depth:  # a checksum within a pass counts once
                    verifying += time.process_time() - begin

        return call

    with contextlib.ExitStack() as stack:
        for owner, name in VERIFYING:
            stack.enter_context(patch.object(owner, name, timed(getattr(owner, name))))
        begin = time.process_time()
        load()
        return verifying, time.process_time() - begin - verifying


def row(name: str, size_bytes: int, load: Callable[[], object], rounds: int) -> str:
    """A line of the table: the time without verification, that of verification, and the share."""
    load()
    found = [seconds(load) for _ in range(rounds)]
    alone, without = (statistics.median(times) for times in zip(*found, strict=True))
    return f"| {name} | {size_bytes / 1e6:.0f} | {without * 1e3:.0f} | {alone * 1e3:.1f} | {alone / without:.1%} |"


@contextlib.contextmanager
def stopped_training(place: Path, base_channels: int) -> Iterator[Path]:
    """The configuration of a training, and a folder ``run`` beside it that was stopped after an epoch."""
    config = {
        "dataset": "data",
        "plan": PLAN,
        "network": {"base_channels": base_channels, "max_channels": 512},
        "train": {
            "epochs": 2,
            "steps_per_epoch": 1,
            "validate_every": 1,
            "validation_cases": 1,
            "num_folds": 2,
        },
        "runtime": {"num_threads": 1, "precision": "float32", "num_workers": 0, "device": "cpu"},
    }
    file = place / "train.yml"
    file.write_text(yaml.safe_dump(config))
    step = TrainModule.training_step

    def stop_in_second_epoch(module: TrainModule, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        if module.current_epoch > 0:
            raise KeyboardInterrupt
        return step(module, batch, index)

    with patch.object(TrainModule, "training_step", stop_in_second_epoch):
        continue_to_first_step(file)
        yield file


def continue_to_first_step(config: Path) -> None:
    """Goes on with the stopped training, to its first step."""
    with contextlib.suppress(KeyboardInterrupt):
        run_training(config, output=config.parent / "run")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--base-channels", type=int, default=32)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| loaded | MB | ms without | ms of verification | share |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        make_demo_data(place / "data", num_cases=4, size_voxels=(40, 40, 40))
        with stopped_training(place, given.base_channels) as config:
            best, state = place / "run" / BEST_NAME, place / "run" / CHECKPOINT_NAME
            print(row("a network", best.stat().st_size, lambda: load_model(best, "cpu"), given.rounds))
            name = "a stopped training, to its first step"
            print(row(name, state.stat().st_size, lambda: continue_to_first_step(config), given.rounds))
        make_demo_data(place / "large", num_cases=3, size_voxels=SIZE_VOXELS)
        dataset, plan = read_dataset(place / "large"), Plan.model_validate({**PLAN, "batch_size": 2})
        cache = place / "cache"

        def patches() -> None:
            cases = PreparedCases(dataset.cases, dataset, plan, cache_dir=cache)
            for _ in PatchStream(cases, plan, steps_per_epoch=NUM_PATCHES // 2, seed=0):
                pass

        patches()
        size = sum(path.stat().st_size for path in cache.iterdir())
        print(row(f"{NUM_PATCHES} patches of prepared cases", size, patches, given.rounds))


if __name__ == "__main__":
    main()
