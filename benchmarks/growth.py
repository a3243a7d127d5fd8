"""What grows with cases, voxels, classes and trials: ``python -m benchmarks.growth -o growth.json``.

The cases are one generated case under many names (hard links), the trials made-up records. So this measures lists,
files, orders and pages, not networks.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np

from search_space.grid import Grid
from search_space.operations import default_candidates
from uxnet_eval.config.plan import Plan
from uxnet_eval.dataset.demo_data import make_demo_data
from uxnet_eval.dataset.folds import split_fold
from uxnet_eval.dataset.msd import Dataset, read_dataset
from uxnet_eval.preprocessing.patch_stream import PatchStream
from uxnet_eval.preprocessing.prepared_cases import PreparedCases, fits_memory
from uxnet_eval.report.page import page_html
from uxnet_eval.report.sources import folder_source
from uxnet_eval.runs.files import write_json
from uxnet_eval.runs.overlays import Overlay, write_overlays
from uxnet_eval.runs.search_record import SearchRecord
from uxnet_eval.search.data import split_cases
from uxnet_eval.slurm.record import SlurmExperiment
from uxnet_eval.slurm.task import State

NUM_CASES = (100, 1_000, 10_000)
NUM_TRIALS = (10, 50, 200)
SIDES_VOXELS = (24, 48, 96)
NUM_CLASSES = (2, 8, 32)
PLAN = Plan(spacing_mm=(1, 1, 1), patch_size=(16, 16, 16), strides=((2, 2, 2),), batch_size=2)
NUM_PREPARED, NUM_STEPS = 20, 100
LEVELS, EPOCHS = 5, 24

Result = TypeVar("Result")


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Processor seconds of this process, which other programs on the machine hardly change, and the result."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def many_cases(folder: Path, count: int) -> Path:
    """A data set of ``count`` names of one case of 24 x 24 x 16 voxels."""
    make_demo_data(folder, num_cases=3, size_voxels=(24, 24, 16), seed=1)
    description = json.loads((folder / "dataset.json").read_text())
    first = description["training"][0]
    ending = "".join(Path(first["image"]).suffixes)
    entries = []
    for number in range(count):
        entry = {}
        for kind in ("image", "label"):
            path = Path(first[kind])
            entry[kind] = f"./{(path.parent / f'copy{number:05}').as_posix()}{ending}"
            os.link(folder / path, folder / entry[kind])
        entries.append(entry)
    description |= {"training": entries, "numTraining": count}
    write_json(folder / "dataset.json", description)
    return folder


class OneCase:
    """Stands for ``count`` prepared cases."""

    def __init__(self, item: dict[str, Any], count: int) -> None:
        self._item, self._count = item, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._item


def of_cases(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = many_cases(Path(scratch) / "data", count)
        read_s, dataset = timed(lambda: read_dataset(folder))
        split_s, _ = timed(
            lambda: (split_cases(dataset, 0, 12), split_fold(dataset, fold=0, num_folds=5, seed=0))
        )
        fits_s, _ = timed(lambda: fits_memory(dataset, PLAN, 0.4))
        few = dataset.cases[:NUM_PREPARED]
        prepare_s, prepared = timed(lambda: PreparedCases(few, dataset, PLAN))
        item = prepared[0]
        tensors = [item["image"], item["label"], *item["foreground"]]
        cached_bytes = _cache_bytes(dataset, Path(scratch) / "cache")
        stream = PatchStream(OneCase(item, count), PLAN, steps_per_epoch=NUM_STEPS, num_workers=0)
        stream_s, _ = timed(lambda: [stream.batch(0, step) for step in range(NUM_STEPS)])
        return {
            "cases": count,
            "read_ms_per_case": 1e3 * read_s / count,
            "split_ms_per_case": 1e3 * split_s / count,
            "fits_memory_s": fits_s,
            "prepare_ms_per_case": 1e3 * prepare_s / len(few),
            "memory_bytes_per_case": sum(t.numel() * t.element_size() for t in tensors),
            "cache_bytes_per_case": cached_bytes,
            "patch_ms": 1e3 * stream_s / (NUM_STEPS * PLAN.batch_size),
        }


def of_voxels(side: int) -> dict[str, Any]:
    """Of cases of ``side`` voxels along each axis."""
    with tempfile.TemporaryDirectory() as scratch:
        make_demo_data(Path(scratch) / "data", num_cases=3, size_voxels=(side,) * 3, seed=1)
        return {"voxels": side**3, **_prepared(read_dataset(Path(scratch) / "data"))}


def of_classes(count: int) -> dict[str, Any]:
    """Of cases of 48^3 voxels whose label map has ``count`` slabs, a class each."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "data"
        make_demo_data(folder, num_cases=3, size_voxels=(48,) * 3, seed=1)
        description = json.loads((folder / "dataset.json").read_text())
        write_json(
            folder / "dataset.json", description | {"labels": {str(k): f"class {k}" for k in range(count)}}
        )
        slabs = np.repeat(np.arange(48) * count // 48, 48 * 48).reshape(48, 48, 48).astype(np.uint8)
        for path in (folder / "labelsTr").glob("*.nii.gz"):
            nib.save(nib.Nifti1Image(slabs, nib.load(path).affine), path)
        return {"classes": count, **_prepared(read_dataset(folder))}


def _prepared(dataset: Dataset) -> dict[str, Any]:
    """What it costs to prepare a case, to hold it and to cut a patch from it."""
    prepare_s, prepared = timed(lambda: PreparedCases(dataset.cases, dataset, PLAN))
    items = [prepared[index] for index in range(len(prepared))]
    tensors = [t for item in items for t in (item["image"], item["label"], *item["foreground"])]
    stream = PatchStream(prepared, PLAN, steps_per_epoch=NUM_STEPS, num_workers=0)
    stream_s, _ = timed(lambda: [stream.batch(0, step) for step in range(NUM_STEPS)])
    return {
        "prepare_ms_per_case": 1e3 * prepare_s / len(items),
        "memory_bytes_per_case": sum(t.numel() * t.element_size() for t in tensors) / len(items),
        "patch_ms": 1e3 * stream_s / (NUM_STEPS * PLAN.batch_size),
    }


def _cache_bytes(dataset: Dataset, folder: Path) -> float:
    prepared = PreparedCases(dataset.cases[:5], dataset, PLAN, cache_dir=folder)
    for index in range(len(prepared)):
        prepared[index]
    return sum(path.stat().st_size for path in folder.iterdir()) / len(prepared)


def of_trials(count: int) -> dict[str, Any]:
    random, grid = np.random.default_rng(0), Grid(LEVELS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        experiment = SlurmExperiment(folder, {}, {"time": 1}, tuple({"seed": n} for n in range(count)))
        for number in range(count):
            output = experiment.output(number)
            output.mkdir(parents=True)
            State(status="SUCCEEDED", attempts=1).save(output)
            _made_up_search(output, grid, random, number / count)
        record_bytes = (experiment.output(0) / "search.json").stat().st_size
        experiment.save()
        status_s, _ = timed(experiment.trials)
        report_s, page = timed(lambda: page_html(folder_source(folder / "trials")))
        return {
            "trials": count,
            "status_ms_per_trial": 1e3 * status_s / count,
            "report_s": report_s,
            "report_mb": len(page.encode()) / 1e6,
            "search_record_bytes": record_bytes,
        }


def _made_up_search(folder: Path, grid: Grid, random: np.random.Generator, dice: float) -> None:
    def state() -> dict[str, Any]:
        return {
            "gates": {str(edge): float(random.random()) for edge in grid.edges},
            "alphas": {
                str(layer): {
                    name: float(weight)
                    for name, weight in zip(
                        default_candidates(layer.kind, 3),
                        random.dirichlet(np.ones(len(default_candidates(layer.kind, 3)))),
                        strict=True,
                    )
                }
                for layer in grid.layers
            },
        }

    history = [{"epoch": epoch, "default": dice, "derived_dice": dice, **state()} for epoch in range(EPOCHS)]
    SearchRecord(
        levels=grid.levels,
        spatial_dims=3,
        gates=history[-1]["gates"],
        alphas=history[-1]["alphas"],
        scores={"default": dice, "derived_dice": dice},
        history=history,
    ).save(folder)
    write_json(folder / "result.json", {"default": dice})
    pictures = [random.integers(0, 256, (64, 192, 3), dtype=np.uint8) for _ in range(3)]
    write_overlays(
        folder,
        [Overlay(f"case{n}", rank, dice, pictures[n]) for n, rank in enumerate(("best", "median", "worst"))],
        ("background", "one"),
        "made up",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    output = parser.parse_args().output
    found: dict[str, Any] = {"cases": [], "voxels": [], "classes": [], "trials": []}
    of_cases(10)  # imports and first calls
    for count in NUM_CASES:
        found["cases"].append(of_cases(count))
        print(found["cases"][-1], flush=True)
    for side in SIDES_VOXELS:
        found["voxels"].append(of_voxels(side))
        print(found["voxels"][-1], flush=True)
    for count in NUM_CLASSES:
        found["classes"].append(of_classes(count))
        print(found["classes"][-1], flush=True)
    for count in NUM_TRIALS:
        found["trials"].append(of_trials(count))
        print(found["trials"][-1], flush=True)
    write_json(output, found)


if __name__ == "__main__":
    main()
