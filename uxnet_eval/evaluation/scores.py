"""The scores of many cases as one table, and their summary over cases and classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from search_space.errors import UserError

from ..runs.csv_cells import cell, text_of
from .metrics import DEFAULT_TOLERANCE_MM, score_case

METRICS = ("dice", "hd95_mm", "nsd", "reference_volume_mm3", "predicted_volume_mm3")
NAMES = ("case_id", "class")
COLUMNS = (*NAMES, *METRICS)
NUM_RESAMPLES = 2000
"""Bootstrap resamples: interval ends then vary between seeds by a few hundredths of its width."""


def score_cases(
    cases: Iterable[tuple[str, Any, Any, Sequence[float]]],
    class_names: Sequence[str],
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
) -> pd.DataFrame:
    """One row for each case and foreground class, in the order of the cases and of the classes.

    Args:
        cases: case id, reference (*S), prediction (*S) and spacing_mm of each case; see
            :func:`uxnet_eval.evaluation.metrics.score_case`. Taken one at a time, so it may be a
            generator. To get the numbers of ``uxnet evaluate``, give arrays in the grid of the
            case's file.
        class_names: background first.
        tolerance_mm: of the surface Dice.

    Returns:
        The columns ``COLUMNS``; NaN where a class does not occur in a case.
    """
    rows = []
    for case_id, reference, prediction, spacing_mm in cases:
        try:
            scores = score_case(reference, prediction, spacing_mm, len(class_names), tolerance_mm)
        except ValueError as error:
            raise ValueError(f"{case_id}: {error}") from error
        for score in scores:
            values = asdict(score)
            rows.append([case_id, class_names[score.class_index], *(values[metric] for metric in METRICS)])
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(METRICS, float))


def summarise(cases: pd.DataFrame, seed: int = 0) -> dict[str, Any]:
    """Means over the cases of a table made by :func:`score_cases`; plain values, ready for JSON.

    ``mean_dice`` is the mean over the foreground classes of each class's mean over the cases it
    occurs in (as nnU-Net's ``foreground_mean``), so that every class weighs the same. The order of
    the cases does not matter, to the last bit. Each metric of each class has mean, sd (of the
    sample, n-1), median, the 95 % interval of the mean (percentile bootstrap over cases) and the
    number of cases counted. What cannot be told is ``None``: all of it for a class that occurs in
    no case, sd and interval with a single case.

    Args:
        cases: columns ``COLUMNS``.
        seed: of the bootstrap. Each interval starts from it anew, so it depends on its own column
            alone.
    """
    names = list(dict.fromkeys(cases["class"]))
    cases = cases.sort_values("case_id", kind="stable")
    classes = {name: _class_summary(cases[cases["class"] == name], seed) for name in names}
    means = [entry["dice"]["mean"] for entry in classes.values() if entry["dice"]["mean"] is not None]
    dice = cases.pivot(index="case_id", columns="class", values="dice")[names].to_numpy()
    return {
        "mean_dice": sum(means) / len(means) if means else None,
        "mean_dice_interval_95": _interval(dice, seed),
        "num_cases": int(cases["case_id"].nunique()),
        "classes": classes,
        "warnings": _warnings(cases, names),
    }


def csv_of_cases(cases: pd.DataFrame) -> str:
    """The text of ``cases.csv``, which :func:`read_cases` reads."""
    safe = {column: cases[column].map(lambda text: cell(str(text))) for column in NAMES}
    return cases.assign(**safe).to_csv(index=False, lineterminator="\n")


def read_cases(path: str | Path) -> pd.DataFrame:
    """The table in a ``cases.csv``.

    Case ids and class names stay text (``001``, ``NA``).

    Raises:
        UserError: if the file cannot be read or lacks a column.
    """
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False)
        missing = [column for column in COLUMNS if column not in text.columns]
        if missing:
            raise ValueError(f"no column {', '.join(missing)}")
        text = text.assign(**{column: text[column].map(text_of) for column in NAMES})
        return text.assign(**{m: text[m].replace("", "nan").astype(float) for m in METRICS})[list(COLUMNS)]
    except (OSError, ValueError) as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a table of scores ({reason}); make it with uxnet evaluate") from None


def _class_summary(rows: pd.DataFrame, seed: int) -> dict[str, Any]:
    in_reference, in_prediction = rows["reference_volume_mm3"] > 0, rows["predicted_volume_mm3"] > 0
    return {
        "num_cases_in_neither": int((~in_reference & ~in_prediction).sum()),
        "num_cases_in_reference_alone": int((in_reference & ~in_prediction).sum()),
        "num_cases_in_prediction_alone": int((~in_reference & in_prediction).sum()),
        **{metric: _statistics(rows[metric], seed) for metric in METRICS},
    }


def _statistics(column: pd.Series, seed: int) -> dict[str, Any]:
    values = column.dropna().to_numpy(dtype=float)
    num_cases = len(values)
    return {
        "mean": float(values.mean()) if num_cases else None,
        "sd": float(values.std(ddof=1)) if num_cases > 1 else None,
        "median": float(np.median(values)) if num_cases else None,
        "interval_95": _interval(values[:, None], seed),
        "num_cases": num_cases,
    }


def _interval(table: np.ndarray, seed: int) -> list[float] | None:
    """95 % bootstrap interval of the mean over columns of the means over rows.

    NaN is left out; None if there is one row.
    """
    table = table[~np.isnan(table).all(axis=1)]
    if len(table) < 2:
        return None

    def mean(rows: np.ndarray, axis: int) -> np.ndarray:
        # Rows of the table are what is drawn, so that a case's classes stay together.
        drawn = np.moveaxis(table[rows.astype(np.intp)], axis - 1 if axis < 0 else axis, 0)
        counted = ~np.isnan(drawn)
        num_counted = counted.sum(axis=0)
        sums = np.where(counted, drawn, 0).sum(axis=0)
        column_means = np.divide(sums, num_counted, out=np.zeros_like(sums), where=num_counted > 0)
        # A rare class may be absent from a resample; the others make its mean then.
        return column_means.sum(axis=-1) / (num_counted > 0).sum(axis=-1)

    result = bootstrap(
        (np.arange(len(table)),),
        mean,
        n_resamples=NUM_RESAMPLES,
        method="percentile",
        vectorized=True,
        batch=200,
        random_state=np.random.default_rng(seed),
    )
    low, high = (float(end) for end in result.confidence_interval)
    return None if math.isnan(low) else [low, high]


def _warnings(cases: pd.DataFrame, names: list[str]) -> list[str]:
    messages = []
    for name in names:
        rows = cases[cases["class"] == name]
        if (rows["reference_volume_mm3"] > 0).any():
            continue
        if (rows["predicted_volume_mm3"] > 0).any():
            messages.append(
                f"class {name} occurs in no reference, but in predictions: its Dice of 0 counts in mean_dice"
            )
        else:
            messages.append(f"class {name} occurs in no case: it has no scores and is left out of mean_dice")
    return messages
