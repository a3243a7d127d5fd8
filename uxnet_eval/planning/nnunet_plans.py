"""nnU-Net's plans: read, checked, and turned into ours.

nnU-Net's arrays are z, y, x of the file, exchanged by ``transpose_forward`` so that the thickest
axis comes first; ours are R, A, S. Both are joined through the order of the axes in the file, which
is x, y, z = R, A, S for scans that are stored axially; which way an axis points makes no difference
to plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space.errors import UserError, nearest
from search_space.reading import read_json

from ..config.plan import Plan
from ..dataset.description import DESCRIPTION_NAME

PICTURE_READER = "NaturalImage2DIO"
"""nnU-Net's reader of PNG files, which gives rows and columns as they are."""


@dataclass(frozen=True)
class NNUNetPlans:
    """One configuration of a plans file.

    Attributes:
        path: the file.
        values: all of it.
        name: of the configuration.
        configuration: its values, with what it inherits.
        axes: for each of our axes (R, A, S), which of nnU-Net's it is.
        plan: patch, spacing, strides and batch size along our axes; normalisation is not taken from
            nnU-Net.
    """

    path: Path
    values: Mapping[str, Any]
    name: str
    configuration: Mapping[str, Any]
    axes: tuple[int, ...]
    plan: Plan

    @property
    def strides(self) -> list[list[int]]:
        """Strides of every level along nnU-Net's axes; those of the first level are 1."""
        return [list(stride) for stride in _arch_kwargs(self.configuration)["strides"]]

    def taken_over(self, plan: Plan) -> Plan:
        """``plan`` with nnU-Net's patch, spacing, strides and batch size."""
        names = ("spacing_mm", "patch_size", "strides", "batch_size")
        return plan.model_copy(update={name: getattr(self.plan, name) for name in names})


def check_dimensions(plans: NNUNetPlans, spatial_dims: int, data: str) -> None:
    """Raises :class:`UserError` unless a data set has as many spatial axes as the plans."""
    if plans.plan.spatial_dims != spatial_dims:
        raise UserError(
            f"{plans.path}: configuration {plans.name} is {plans.plan.spatial_dims}-D, {data} is {spatial_dims}-D; "
            "take another --configuration"
        )


def read_nnunet_plans(path: Path, configuration: str) -> NNUNetPlans:
    """One configuration of the plans that ``nnUNetv2_plan_experiment`` wrote.

    Raises:
        UserError: begins with the file's name: it is absent or no plans file, has no such
            configuration, or one that is part of a cascade, or of a data set with regions, or has
            other strides than 1 and 2.
    """
    values = _read(path)
    found = _resolved(path, values["configurations"], configuration)
    for key in ("previous_stage", "next_stage"):
        if found.get(key):
            raise UserError(
                f"{path}: configuration {configuration} is part of a cascade ({key}: {found[key]}), which is not offered; "
                "take one that stands alone, such as 3d_fullres of plans without a cascade, or remove that key"
            )
    _refuse_regions(path)
    try:
        strides = [[int(s) for s in stride] for stride in _arch_kwargs(found)["strides"]]
        patch, spacing = found["patch_size"], found["spacing"]
        axes = _axes(values, len(patch))
        plan = Plan.parse(
            {
                "spatial_dims": len(axes),
                "patch_size": [patch[axis] for axis in axes],
                "spacing_mm": [spacing[axis] for axis in axes],
                "strides": [[stride[axis] for axis in axes] for stride in strides[1:]],
                "batch_size": found["batch_size"],
            },
            f"{path}: configuration {configuration}",
        )
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{path}: configuration {configuration} lacks {error}; expected plans of nnU-Net 2.2 or newer, make them "
            "again with nnUNetv2_plan_experiment"
        ) from None
    if set(strides[0]) != {1}:
        raise UserError(
            f"{path}: configuration {configuration} has the strides {strides[0]} at full resolution; expected 1 along "
            "each axis"
        )
    return NNUNetPlans(path, values, configuration, found, axes, plan)


def _arch_kwargs(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    kwargs: Mapping[str, Any] = configuration["architecture"]["arch_kwargs"]
    return kwargs


def _read(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give nnUNetPlans.json of nnU-Net's folder of preprocessed data"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: {error}; plan again with nnUNetv2_plan_experiment") from None
    keys = ("configurations", "plans_name", "transpose_forward", "dataset_name")
    if not isinstance(values, dict) or any(key not in values for key in keys):
        raise UserError(f"{path}: not a plans file of nnU-Net v2 (expected {', '.join(keys)})")
    return values


def _resolved(path: Path, configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration with the values of those that it inherits from."""
    found: dict[str, Any] = {}
    inherited: list[str] = []
    while name:
        if name not in configurations:
            raise UserError(
                f"{path}: has no configuration '{name}'{nearest(name, configurations)}; it has "
                f"{', '.join(configurations)}"
            )
        if name in inherited:
            raise UserError(f"{path}: configuration {name} inherits from itself")
        inherited.append(name)
        found = {**configurations[name], **found}
        name = str(configurations[name].get("inherits_from", ""))
    found.pop("inherits_from", None)
    return found


def _refuse_regions(path: Path) -> None:
    """Raises if ``dataset.json`` beside the plans of nnU-Net says that classes overlap."""
    beside = path.with_name(DESCRIPTION_NAME)
    if not beside.is_file():
        return
    try:
        labels = read_json(beside)["labels"]
        regions = [name for name, value in labels.items() if isinstance(value, list)]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{beside}: its labels cannot be read ({error}); plan again with nnU-Net") from None
    if regions:
        raise UserError(
            f"{beside}: trains on regions ({', '.join(regions)}), which is not offered; give labels one value each"
        )


def _axes(values: Mapping[str, Any], dims: int) -> tuple[int, ...]:
    """For each of our axes, which of nnU-Net's it is; see this module."""
    if values.get("image_reader_writer") == PICTURE_READER:
        return tuple(range(dims))
    # nnU-Net's axis k is axis transpose[k] of z, y, x, which is axis 2 - transpose[k] of the file;
    # a 2-D configuration cuts slices along its first axis.
    file_axes = [2 - int(axis) for axis in values["transpose_forward"]][3 - dims :]
    return tuple(file_axes.index(axis) for axis in sorted(file_axes))
