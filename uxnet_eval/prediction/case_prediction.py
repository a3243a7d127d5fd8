"""The label of one case from one or several networks, in the grid of the case's own file.

Legend: C channels, K classes, *S the file's grid, *N the network's grid (of the plan's spacing).

Each network's logits become probabilities (softmax) on its own grid; networks whose plans prepare
an image alike are averaged there, the others on the file's grid. The average of each class is
interpolated onto the file's grid and the most probable class taken. Classes pass one at a time, so
that K of them are in memory only once, on the network's grid.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from search_space.errors import UserError

from ..config.plan import Plan
from ..preprocessing.case_grid import CaseGrid, from_network, from_ras
from ..preprocessing.transforms import prepare_image
from .components import largest_components
from .windows import Model, WindowSettings, num_windows, window_logits


@dataclass(frozen=True)
class CasePrediction:
    """A case's label in the grid of its file.

    ``label`` (*S) uint8 class indices (int16 beyond 256 classes), ``affine`` 4x4, and, if asked
    for, ``probabilities`` (K, *S) float16.
    """

    label: np.ndarray
    affine: np.ndarray
    probabilities: np.ndarray | None


class GridProbabilities(NamedTuple):
    """Mean probabilities (K, *N) of some networks, their grid, and those networks' share."""

    values: Tensor
    grid: CaseGrid
    share: float


def predict_case(
    models: Sequence[Model],
    image: np.ndarray,
    affine: np.ndarray,
    *,
    case_id: str,
    settings: WindowSettings | None = None,
    probabilities: bool = False,
    largest_component: bool = False,
    progress: Callable[[float], None] | None = None,
) -> CasePrediction:
    """The label of an image as its file stores it.

    Args:
        models: whose probabilities are averaged; their classes are the same
            (:func:`check_ensemble`).
        image: (C, *S) in any orientation; not changed.
        affine: 4x4, voxel to mm.
        case_id: for error messages.
        settings: of the windows; unless given, :class:`WindowSettings` as it is.
        probabilities: return them too.
        largest_component: of each class keep its largest component alone; probabilities are not
            touched by it.
        progress: called with the share done, in (0, 1].

    Raises:
        UserError: begins with the case id; a network gives NaN or infinity.
    """
    settings = settings or WindowSettings()
    groups: dict[str, list[Model]] = {}
    for model in models:
        groups.setdefault(_preparation(model.plan), []).append(model)
    parts: list[GridProbabilities] = []
    for group in groups.values():
        prepared, grid = prepare_image(case_id, image, affine, group[0].plan)
        done = sum(part.share for part in parts)
        share = len(group) / len(models)
        note = None if progress is None else _scaled(progress, done, share)
        parts.append(
            GridProbabilities(mean_probabilities(group, prepared, grid, settings, note), grid, share)
        )
        del prepared  # before the next is made
    return _prediction(parts, probabilities, largest_component)


def predict_prepared(
    models: Sequence[Model],
    image: Tensor,
    grid: CaseGrid,
    *,
    settings: WindowSettings | None = None,
    largest_component: bool = False,
) -> CasePrediction:
    """Like :func:`predict_case`, for a prepared image (C, *N) of the plan that all models share."""
    values = mean_probabilities(models, image, grid, settings or WindowSettings())
    return _prediction([GridProbabilities(values, grid, 1.0)], False, largest_component)


def mean_probabilities(
    models: Sequence[Model],
    image: Tensor,
    grid: CaseGrid,
    settings: WindowSettings,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """The mean over ``models`` of their probabilities (K, *N) of a prepared image (C, *N).

    Raises:
        UserError: begins with the case id; a network gives NaN or infinity.
    """
    total_windows = sum(
        num_windows(image.shape[1:], m.plan.patch_size, settings.overlap_for(m)) for m in models
    )
    num_done = 0

    def note_windows(count: int) -> None:
        nonlocal num_done
        num_done += count
        if progress is not None:
            progress(num_done / total_windows)

    mean: Tensor | None = None
    with torch.inference_mode():
        for model in models:
            values = window_logits(model, image, settings, note_windows)
            if not torch.isfinite(values).all():
                raise UserError(
                    f"{grid.case_id}: the network gives NaN or infinity, expected finite logits; predict with "
                    "--precision float32, or train again if its weights are damaged"
                )
            _softmax_in_place(values)
            mean = values if mean is None else mean.add_(values)
        assert mean is not None, "no model"
        return mean if len(models) == 1 else mean.div_(len(models))


def check_ensemble(models: dict[str, Model]) -> None:
    """Raises :class:`UserError` unless all models, by name, have the same channels and classes."""
    (first_name, first), *others = models.items()
    for name, model in others:
        for what in ("channel_names", "class_names", "label_values"):
            found, expected = list(getattr(model.dataset, what)), list(getattr(first.dataset, what))
            if found != expected:
                raise UserError(
                    f"{name}: has the {what.replace('_', ' ')} {found}, expected {expected} as in {first_name}; "
                    "an ensemble is of checkpoints for the same data"
                )
        if model.plan.spatial_dims != first.plan.spatial_dims:
            raise UserError(
                f"{name}: is for {model.plan.spatial_dims}-D images, expected {first.plan.spatial_dims}-D as in "
                f"{first_name}; an ensemble is of checkpoints for the same data"
            )


def _prediction(
    parts: Sequence[GridProbabilities], keep_probabilities: bool, largest_component: bool
) -> CasePrediction:
    """The most probable class of each voxel of the file's grid; of equal ones the first."""
    grid, num_classes = parts[0].grid, len(parts[0].values)
    label = np.zeros(grid.shape, dtype=np.uint8 if num_classes <= 256 else np.int16)
    kept = np.empty((num_classes, *grid.shape), dtype=np.float16) if keep_probabilities else None
    best: np.ndarray | None = None
    for k, probability in enumerate(_own_grid_classes(parts)):
        if kept is not None:
            kept[k] = probability
        if best is None:
            best = probability
        else:
            label[probability > best] = k
            np.maximum(best, probability, out=best)
    if largest_component:
        label = largest_components(label)
    return CasePrediction(label, np.array(grid.affine), kept)


def _own_grid_classes(parts: Sequence[GridProbabilities]) -> Iterator[np.ndarray]:
    """Yields for each class the mean over all networks on the file's grid, (*S) float32."""
    for k in range(len(parts[0].values)):
        total: np.ndarray | None = None
        for values, grid, share in parts:
            channel = values[k : k + 1]
            if grid.is_resampled:
                channel = from_network(channel, grid)
            own = from_ras(channel, grid).as_tensor()[0].numpy() * np.float32(share)
            total = own if total is None else total + own
        assert total is not None
        yield total


def _softmax_in_place(logits: Tensor) -> None:
    """Softmax over the first axis, without a second copy of all classes."""
    logits.sub_(logits.amax(dim=0)).exp_()
    logits.div_(logits.sum(dim=0))


def _preparation(plan: Plan) -> str:
    """What of a plan decides about the prepared image, as text."""
    return json.dumps([plan.spacing_mm, plan.normalization, plan.intensity], sort_keys=True)


def _scaled(progress: Callable[[float], None], done: float, share: float) -> Callable[[float], None]:
    return lambda value: progress(done + share * value)
