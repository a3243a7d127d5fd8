"""Which network to train: a genotype, a control of one, or a baseline. Plain Python, no tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space import Genotype, presets
from search_space.errors import UserError, nearest

from .controls import CONTROLS, control_genotype, is_control

BASELINES = {
    "dynunet": "nnU-Net's network (MONAI's DynUNet as nnU-Net configures it)",
    "segresnet": "SegResNet, an encoder-decoder of residual blocks",
    "u-resnet": "a U-Net with residual units (MONAI's UNet)",
    "monai-unet++": "U-Net++ with concatenation (MONAI's BasicUNetPlusPlus)",
    "dints": "the full topology of DiNTS's search space, 3x3x3 convolutions in every cell",
}
"""Networks of MONAI that a genotype is compared with."""

PRESET_PREFIX = "preset:"


@dataclass(frozen=True)
class Architecture:
    """A network but for its width and its numbers of channels and classes.

    Attributes:
        name: as the user gave it.
        genotype: the genotype; None: the baseline of this name.
    """

    name: str
    genotype: Genotype | None

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "genotype": self.genotype.to_dict() if self.genotype else None}

    @classmethod
    def from_dict(cls, values: Any, source: str) -> Architecture:
        """The architecture that :meth:`to_dict` described.

        Raises :class:`UserError`, which begins with ``source``, for anything else.
        """
        name = values.get("name") if isinstance(values, dict) else None
        if not isinstance(name, str) or "genotype" not in values:
            raise UserError(f"{source}: describes no architecture; train it again")
        if values["genotype"] is not None:
            return cls(name, Genotype.from_dict(values["genotype"], source))
        if name not in BASELINES:
            raise UserError(f"{source}: its architecture '{name}' is no baseline{nearest(name, BASELINES)}")
        return cls(name, None)


def level_channels(base_channels: float, level: int, max_channels: int) -> int:
    """Channels of a level, from possibly fractional base channels (9.5: 10, 19, 38, ...)."""
    return min(int(base_channels * 2**level + 0.5), max_channels)


def check_architecture(text: str) -> str:
    """``text``, if it can name an architecture; whether a file is there is not looked at.

    Raises:
        UserError: if it is neither a preset, nor a baseline, nor a control, nor the path of a JSON
            file.
    """
    name = text.removeprefix(PRESET_PREFIX)
    if text.startswith(PRESET_PREFIX):
        presets.get(name)
    elif (
        not is_control(text)
        and text not in presets.names()
        and text not in BASELINES
        and not text.endswith(".json")
    ):
        known = (*presets.names(), *BASELINES, *CONTROLS)
        raise UserError(
            f"architecture '{text}' is unknown{nearest(text, known)}; give the path of a genotype (.json), or one of "
            f"{', '.join(known)}"
        )
    return text


def find_architecture(
    text: str,
    levels: int,
    beside: Path | None = None,
    *,
    searched: str | None = None,
    spatial_dims: int = 3,
) -> Architecture:
    """The architecture that ``text`` names.

    Args:
        text: the path of a genotype, relative to ``beside`` or to the current folder; a preset
            (``unet``, ``preset:unet``); one of :data:`BASELINES`; or one of
            :data:`uxnet_eval.architectures.controls.CONTROLS`.
        levels: of the plan's grid.
        beside: the configuration's own folder.
        searched: the path of the genotype that a control is made from.
        spatial_dims: of the data.

    Raises:
        UserError: if there is no such architecture, its file is no genotype of this many levels, or
            a control has no genotype to be made from.
    """
    check_architecture(text)
    if text in BASELINES:
        return Architecture(text, None)
    preset = text.removeprefix(PRESET_PREFIX)
    if preset in presets.names():
        return Architecture(text, presets.get(preset, levels))
    if not is_control(text):
        return Architecture(text, _load(text, levels, beside))
    if searched is None:
        raise UserError(
            f"architecture '{text}' is made from a searched genotype; set genotype to the path of its file (.json)"
        )
    return Architecture(text, control_genotype(text, _load(searched, levels, beside), spatial_dims))


def _load(text: str, levels: int, beside: Path | None) -> Genotype:
    places = [*([beside / text] if beside else []), Path(text)]
    path = next((place for place in places if place.is_file()), Path(text))
    genotype = Genotype.load(path)
    if genotype.levels != levels:
        raise UserError(
            f"{path}: a genotype of {genotype.levels} levels, but the plan's strides make {levels}; give a genotype "
            f"of {levels} levels, or strides for {genotype.levels}"
        )
    return genotype
