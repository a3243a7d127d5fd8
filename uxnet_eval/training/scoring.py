"""The scores of the fold's cases at the end of a training, each on the grid of its own file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes

from ..dataset.msd import Dataset, load_image, load_label
from ..evaluation.folders import Evaluation
from ..evaluation.metrics import EMPTY_POLICY
from ..evaluation.scores import score_cases, summarise
from ..networks.checkpoint import LoadedModel
from ..prediction import predict_prepared
from ..preprocessing.prepared_cases import PreparedCases
from ..recipe.progress import tell
from ..runs.validation_cases import ValidationCases


def score_models(
    models: Sequence[LoadedModel],
    cases: PreparedCases,
    dataset: Dataset,
    tolerance_mm: float,
    seen: ValidationCases | None = None,
) -> Evaluation:
    """The scores of a network or an ensemble, equal to those of predicted and evaluated files.

    Args:
        models: the trained networks, whose probabilities are averaged; they share one plan.
        cases: of ``dataset``, prepared by that plan.
        dataset: which the cases belong to.
        tolerance_mm: of the surface Dice.
        seen: notes every case and its Dice, for the report.
    """

    def predicted() -> Iterator[tuple[str, np.ndarray, np.ndarray, list[float]]]:
        for index, case in enumerate(cases.cases):
            item = cases[index]
            prediction = predict_prepared(models, item["image"].float(), item["grid"])
            reference, affine = load_label(case, dataset)
            spacing_mm = voxel_sizes(affine)[: dataset.spatial_dims].tolist()
            if seen is not None:
                seen.add_stored(
                    case.case_id, load_image(case, dataset)[0], reference, prediction.label, affine
                )
            yield case.case_id, reference, prediction.label, spacing_mm
            tell("scored", (index + 1) / len(cases))

    table = score_cases(predicted(), dataset.class_names, tolerance_mm)
    if seen is not None:
        seen.rank(table.groupby("case_id")["dice"].mean().to_dict())
    summary: dict[str, Any] = {
        **summarise(table),
        "tolerance_mm": tolerance_mm,
        "volume_unit": "mm3" if dataset.spatial_dims == 3 else "mm2",
        "empty_policy": EMPTY_POLICY,
        "label_values": dict(zip(dataset.class_names, dataset.label_values, strict=True)),
        "references": str(dataset.folder),
        "predictions": ", ".join(str(model.path) for model in models),
        "not_scored": {},
    }
    return Evaluation(table, summary)
