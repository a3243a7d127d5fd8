"""``uxnet evaluate``: scores a folder of predicted label maps against their references.

The predictions may come from any program; what counts is their file names and that they lie on the
grid of the references. :mod:`uxnet_eval.evaluation.metrics` says what is measured and how empty
masks count.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nibabel.affines import voxel_sizes
from rich.table import Table

from search_space.checksum import with_checksum
from search_space.errors import UserError

from ..dataset.label_folder import (
    dataset_of_labels,
    label_files,
    match_cases,
    prediction_mismatch,
    read_label,
)
from ..dataset.msd import Dataset
from ..runs.files import write_files
from ..runs.names import CASES_NAME, SUMMARY_NAME
from .metrics import DEFAULT_TOLERANCE_MM, EMPTY_POLICY
from .scores import csv_of_cases, read_cases, score_cases, summarise

__all__ = [
    "Evaluation",
    "evaluate_folders",
    "mean_dice_line",
    "read_cases",
    "refuse_output",
    "score_cases",
    "summarise",
    "summary_table",
    "write_evaluation",
]

_PACKAGES = ("uxnet-search", "monai", "torch", "numpy", "scipy", "nibabel")


@dataclass(frozen=True)
class Evaluation:
    """The result: a row per case and class, and the content of ``summary.json``.

    The table is that of :func:`uxnet_eval.evaluation.scores.score_cases`.
    """

    cases: pd.DataFrame
    summary: dict[str, Any]


def evaluate_folders(
    references: Path | Dataset,
    predictions: Path,
    *,
    class_names: Mapping[int, str] | None = None,
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
    allow_missing: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """The scores of a folder of predictions; nothing is written.

    Args:
        references: a folder of label maps, or a data set, whose training labels are the references.
        predictions: a folder of label maps, each named after its case (``heart_003.nii.gz``).
        class_names: name of each label value, for a folder of references. Unless given, the values
            found in the references are the classes and are called ``1``, ``2``, ... Value 0 is the
            background.
        tolerance_mm: of the surface Dice.
        allow_missing: score the cases that have both files, and list the others in the summary;
            they do not count in any mean. Otherwise they are an error.
        seed: of the bootstrap intervals.
        progress: called with the number of files read and their total.

    Raises:
        UserError: a folder is missing or holds no label maps; cases lack their prediction or
            reference (all are named); no class; or, beginning with the case id, a file cannot be
            read, holds undeclared values, or lies on another grid than its reference.
    """
    if not 0 <= tolerance_mm < float("inf"):
        raise UserError(f"tolerance {tolerance_mm:g} mm: expected a length of at least 0, such as 1.0")
    if isinstance(references, Dataset):
        if class_names is not None:
            raise UserError(f"{references.folder}: its dataset.json names the classes; leave the labels out")
        dataset, where, declared_by = references, references.folder, "under labels in dataset.json"
        reference_files = {case.case_id: case.label for case in dataset.cases if case.label is not None}
    else:
        dataset, where, declared_by = None, references, "with --label VALUE=NAME"
        reference_files = label_files(references, "references")
    if predictions.resolve() == where.resolve():
        raise UserError(f"{predictions}: is given as predictions and as references; give two folders")
    prediction_files = label_files(predictions, "predictions")
    matched, not_scored = match_cases(where, reference_files, predictions, prediction_files, allow_missing)

    num_read, num_passes = 0, 2 if dataset is not None or class_names is not None else 3

    def note_file() -> None:
        nonlocal num_read
        num_read += 1
        if progress is not None:
            progress(num_read, num_passes * len(matched))

    if dataset is None:
        dataset = dataset_of_labels(where, matched, reference_files, class_names, note_file)

    def read_all() -> Iterator[tuple[str, np.ndarray, np.ndarray, list[float]]]:
        for case_id in matched:
            reference, affine = read_label(case_id, reference_files[case_id], dataset, declared_by)
            note_file()
            path = prediction_files[case_id]
            prediction, other_affine = read_label(case_id, path, dataset, declared_by)
            mismatch = prediction_mismatch(reference.shape, affine, prediction.shape, other_affine)
            if mismatch:
                raise UserError(f"{case_id}: {path}: {mismatch}")
            yield case_id, reference, prediction, voxel_sizes(affine)[: dataset.spatial_dims].tolist()
            note_file()

    cases = score_cases(read_all(), dataset.class_names, tolerance_mm)
    summary = {
        **summarise(cases, seed),
        "tolerance_mm": tolerance_mm,
        "volume_unit": "mm3" if dataset.spatial_dims == 3 else "mm2",
        "empty_policy": EMPTY_POLICY,
        "label_values": dict(zip(dataset.class_names, dataset.label_values, strict=True)),
        "references": str(where),
        "predictions": str(predictions),
        "not_scored": not_scored,
        "bootstrap_seed": seed,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
    }
    return Evaluation(cases, summary)


def refuse_output(output: Path, force: bool) -> None:
    """Raises a UserError if results cannot or should not go to the folder ``output``."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file, expected a folder for {CASES_NAME} and {SUMMARY_NAME}")
    for name in (CASES_NAME, SUMMARY_NAME):
        if (output / name).exists() and not force:
            raise UserError(
                f"{output / name}: exists already; give another folder, or --force to overwrite it"
            )


def write_evaluation(evaluation: Evaluation, output: Path) -> None:
    """Writes ``cases.csv`` and ``summary.json`` to the folder ``output``.

    Both are complete under temporary names before either takes its place, so none is ever cut
    short.

    Raises:
        UserError: if the folder or a file cannot be written.
    """
    texts = {
        CASES_NAME: csv_of_cases(evaluation.cases),
        SUMMARY_NAME: json.dumps(
            with_checksum(evaluation.summary), indent=2, allow_nan=False, ensure_ascii=False
        )
        + "\n",
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_files({output / name: text.encode() for name, text in texts.items()})
    except OSError as error:
        raise UserError(
            f"{output}: the results cannot be written ({error.strerror}); free space or give another folder"
        ) from None


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The summary for the terminal: a row for each class."""
    table = Table(
        title=f"{summary['num_cases']} cases: mean ± SD (95 % interval of the mean)", title_justify="left"
    )
    table.add_column("class")
    for heading in ("Dice", "HD95 mm", f"NSD at {summary['tolerance_mm']:g} mm", "cases"):
        table.add_column(heading, justify="right")
    for name, entry in summary["classes"].items():
        cells = [
            _cell(entry[metric], decimals) for metric, decimals in (("dice", 3), ("hd95_mm", 2), ("nsd", 3))
        ]
        table.add_row(name, *cells, str(entry["dice"]["num_cases"]))
    return table


def mean_dice_line(summary: Mapping[str, Any]) -> str:
    """The mean Dice in words, and how many cases were left out."""
    if summary["mean_dice"] is None:
        text = "mean Dice: none, no class occurs in any case"
    else:
        text = f"mean Dice over cases and foreground classes: {summary['mean_dice']:.4f}"
        if summary["mean_dice_interval_95"] is not None:
            text += " ({:.4f} to {:.4f})".format(*summary["mean_dice_interval_95"])
    num_left_out = sum(len(ids) for ids in summary["not_scored"].values())
    if num_left_out:
        text += f"; {num_left_out} case{'s' if num_left_out > 1 else ''} without a partner file not scored"
    return text


def _cell(statistics: Mapping[str, Any], decimals: int) -> str:
    if statistics["mean"] is None:
        return "-"
    text = f"{statistics['mean']:.{decimals}f}"
    if statistics["sd"] is not None:
        text += f" ± {statistics['sd']:.{decimals}f}"
    if statistics["interval_95"] is not None:
        text += " ({:.{d}f} to {:.{d}f})".format(*statistics["interval_95"], d=decimals)
    return text


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None  # run from the source folder
