"""Configuration of the search space."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .grid import Grid, Layer
from .operations import check_operation, default_candidates
from .presets import unet_pass_through
from .strict import StrictConfig


class SearchSpaceConfig(StrictConfig):
    """The grid, its channels and its candidates; the defaults are the paper's space.

    All fields are keyword-only.
    """

    spatial_dims: Literal[2, 3] = 3
    """3 for volumes (D x H x W), 2 for images (H x W)."""
    in_channels: int = Field(1, ge=1)
    """Channels of the input image (MR sequences, RGB)."""
    num_classes: int = Field(2, ge=2)
    """Classes of the segmentation, background included; the logits have one channel per class."""
    levels: int = Field(5, ge=2, le=7)
    """Number of levels of the grid; 5 in the paper."""
    base_channels: int = Field(16, ge=1, le=4096)
    """Channels C_0 of level 0; level j has min(C_0 * 2^j, max_channels) channels."""
    max_channels: int = Field(320, ge=1, le=16384)
    """Largest number of channels of a level."""
    strides: tuple[tuple[int, ...], ...] | None = None
    """Stride of levels 1..L-1 against the level above, 1 or 2 per axis; None: 2 everywhere."""
    normal_candidates: tuple[str, ...] | None = None
    """Operations of the normal layers; None: 7 in 3-D, 5 in 2-D."""
    reduction_candidates: tuple[str, ...] | None = None
    """Operations of the reduction layers; None: all 3."""
    expansion_candidates: tuple[str, ...] | None = None
    """Operations of the expansion layers; None: both."""
    widths: tuple[float, ...] | None = None
    """Factor on the channels of each level 0..L-1; None: 1 everywhere, as in the paper."""
    width_choices: tuple[float, ...] = (1.0,)
    """Factors that a search chooses from for each level; (1,): no width search, as in the paper."""
    anchored_edges: bool = False
    """Keep the U-Net's edges and search the others only; False: search all, as in the paper."""
    edge_scale: bool = False
    """Give each edge a learned scale per channel, which starts at 0 on edges outside the U-Net;
    False: plain sums, as in the paper."""
    pass_through: bool = False
    """Offer ``identity`` to the nodes that only pass a skip on in the U-Net, so that the U-Net is
    part of the space; False: as in the paper."""
    search_blocks: bool = True
    """Search the operations (SBB); False: use the U-Net's operations everywhere (table 1)."""
    search_edges: bool = True
    """Search the edges (MSSA); False: use the U-Net's edges (table 1)."""

    @model_validator(mode="after")
    def _check(self) -> SearchSpaceConfig:
        for level, stride in enumerate(self.level_strides[1:], start=1):
            if len(stride) != self.spatial_dims or not set(stride) <= {1, 2} or set(stride) == {1}:
                raise ValueError(
                    f"strides of level {level} are {stride}; expected {self.spatial_dims} values of 1 or 2, "
                    "not all of them 1"
                )
        if self.strides is not None and len(self.strides) != self.levels - 1:
            raise ValueError(f"strides are given for {len(self.strides)} levels; expected {self.levels - 1}")
        for kind in ("normal", "reduction", "expansion"):
            names = self.candidates(kind)
            if len(set(names)) != len(names) or not names:
                raise ValueError(f"{kind}_candidates: {list(names)} is empty or holds a name twice")
            for name in names:
                check_operation(name, kind, self.spatial_dims, f"{kind}_candidates")
            if "identity" in names:
                raise ValueError(
                    "normal_candidates: 'identity' fits the U-Net's pass-through nodes alone; set pass_through: true"
                )
        for name in ("widths", "width_choices"):
            values = getattr(self, name)
            if values is not None and (not values or not all(0.1 <= value <= 10 for value in values)):
                raise ValueError(f"{name} are {values}; expected factors from 0.1 to 10")
        if self.widths is not None and len(self.widths) != self.levels:
            raise ValueError(f"widths are given for {len(self.widths)} levels; expected {self.levels}")
        if len(set(self.width_choices)) != len(self.width_choices):
            raise ValueError(f"width_choices {self.width_choices} hold a factor twice")
        return self

    @property
    def grid(self) -> Grid:
        return Grid(self.levels)

    @property
    def level_strides(self) -> tuple[tuple[int, ...], ...]:
        """The stride of each level 0..L-1 against the level above; that of level 0 is 1."""
        below = self.strides or ((2,) * self.spatial_dims,) * (self.levels - 1)
        return ((1,) * self.spatial_dims, *below)

    @property
    def divisor(self) -> tuple[int, ...]:
        """Divisor per axis: the input's size in voxels must be a multiple of it."""
        total = [1] * self.spatial_dims
        for stride in self.level_strides:
            total = [t * s for t, s in zip(total, stride, strict=True)]
        return tuple(total)

    def with_widths(self, widths: tuple[float, ...] | None) -> SearchSpaceConfig:
        """This space with a width factor for each level; None: as it is."""
        return self if widths is None else self.model_copy(update={"widths": widths})

    def channels(self, level: int) -> int:
        """The number of channels of the feature maps of ``level``."""
        width = 1.0 if self.widths is None else self.widths[level]
        return max(1, min(int(self.base_channels * 2**level * width + 0.5), self.max_channels))

    def candidates(self, kind: str) -> tuple[str, ...]:
        """The names of the operations that a layer of ``kind`` chooses from."""
        given = {
            "normal": self.normal_candidates,
            "reduction": self.reduction_candidates,
            "expansion": self.expansion_candidates,
        }[kind]
        return default_candidates(kind, self.spatial_dims) if given is None else given

    def layer_candidates(self, layer: Layer) -> tuple[str, ...]:
        """The names of the operations that ``layer`` chooses from."""
        names = self.candidates(layer.kind)
        if self.pass_through and layer.kind == "normal" and layer.node in unet_pass_through(self.levels):
            return (*names, "identity")
        return names

    def layer_channels(self, layer: Layer) -> tuple[int, int]:
        """The numbers of input and output channels of a layer."""
        level, out = layer.node.level, self.channels(layer.node.level)
        if layer.kind == "reduction":
            return self.channels(level - 1), out
        if layer.kind == "expansion":
            return self.channels(level + 1), out
        return (self.in_channels if layer.node == self.grid.input else out), out
