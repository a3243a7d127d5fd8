"""Whole preprocessed cases, one at a time, for validation.

Legend: B batch (1), C channels, *S a whole case.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from .prepared_cases import PreparedCases


def whole_case_loader(cases: PreparedCases) -> DataLoader:
    """Whole preprocessed cases in their given order, one at a time.

    A batch is ``image`` (1, C, *S) float32, ``label`` (1, 1, *S) int64, ``case_id`` (a string) and
    ``grid``, the :class:`~uxnet_eval.preprocessing.case_grid.CaseGrid` that brings a prediction
    back onto the file's own grid.
    """
    return DataLoader(cases, batch_size=1, shuffle=False, collate_fn=_whole_case)


def _whole_case(items: list[dict[str, Any]]) -> dict[str, Any]:
    (item,) = items
    return {
        "image": item["image"][None].to(torch.float32),
        "label": item["label"][None].to(torch.int64),
        "case_id": item["case_id"],
        "grid": item["grid"],
    }
