"""The search space as an NNI ``ModelSpace``, for NNI's strategies and this project's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from . import nni_first  # noqa: F401  # isort: skip

from nni.mutable.utils import label
from nni.nas.nn.pytorch import InputChoice, LayerChoice, ModelSpace

from .aggregation import Align
from .config import SearchSpaceConfig
from .genotype import Genotype
from .grid import Edge, Grid, Layer
from .layers import build_operation
from .network import GridNetwork, module_key
from .presets import default_operation, unet_edges, unet_pass_through

DROPPED, KEPT = 0, 1
"""The two candidates of an edge's choice: zero, or the aligned feature map."""


class GatedEdge(Align):
    """An aggregation edge: a binary choice between zero and T(x), labelled with the edge's name.

    Each edge is a choice of its own, so every NNI strategy can handle it. In DARTS, the softmax
    over the two candidates is a sigmoid gate.
    """

    def __init__(self, edge: Edge, config: SearchSpaceConfig, scale: float | None) -> None:
        super().__init__(edge.source.level, edge.joint_level, config.channels, config.level_strides, scale)
        self.choice = InputChoice(2, n_chosen=1, reduction="sum", label=str(edge))

    def forward(self, x: Tensor) -> Tensor:
        aligned = super().forward(x)
        return self.choice([torch.zeros_like(aligned), aligned])


class UXNetSpace(GridNetwork, ModelSpace):
    """All architectures of the grid: a ``LayerChoice`` per layer, a gated binary choice per edge.

    The defaults give the paper's space: 50 edges, 15 normal, 4 reduction and 10 expansion layers.
    ``simplify()`` then holds one entry for each of these 79, by label (``N0.2-N1.0``,
    ``N1.0/normal``).

    Args:
        config: the grid, its channels and its candidates; None: the defaults.
            ``search_edges=False`` builds the U-Net's edges only, with ``identity`` where the U-Net
            only passes a feature map on. ``search_blocks=False`` uses the U-Net's operation in
            every layer. With both, nothing is left to search.
    """

    def __init__(self, config: SearchSpaceConfig | None = None) -> None:
        config = config or SearchSpaceConfig()
        self._fixed: dict[Layer, str] = {}
        edges = config.grid.edges
        if not config.search_edges:
            edges = tuple(edge for edge in edges if edge in unet_edges(config.levels))
            self._fixed |= {Layer(n, "normal"): "identity" for n in unet_pass_through(config.levels)}
        coarse = {edge.target for edge in edges if edge.is_coarse}
        layers = tuple(x for x in config.grid.layers if x.kind != "expansion" or x.node in coarse)
        for layer in layers:
            if not config.search_blocks:
                self._fixed.setdefault(layer, default_operation(layer))
        anchors = (
            unet_edges(config.levels) if config.anchored_edges or not config.search_edges else frozenset()
        )
        self.searched_edges: tuple[Edge, ...] = tuple(edge for edge in edges if edge not in anchors)
        self.searched_layers: tuple[Layer, ...] = tuple(x for x in layers if x not in self._fixed)
        self.fixed_edges: tuple[Edge, ...] = tuple(edge for edge in edges if edge in anchors)
        self.searched_widths: tuple[int, ...] = (
            tuple(range(config.levels)) if len(config.width_choices) > 1 else ()
        )
        self._config = config
        super().__init__(config, edges, layers)

    @property
    def grid(self) -> Grid:
        return self._config.grid

    @property
    def edge_scale(self) -> bool:
        """Whether each edge has a learned scale per channel."""
        return self._config.edge_scale

    @property
    def fixed_operations(self) -> dict[Layer, str]:
        """The operation of every layer that is not searched."""
        return dict(self._fixed)

    def build_edge(self, edge: Edge) -> Align:
        if edge in self.fixed_edges:
            return super().build_edge(edge)
        return GatedEdge(edge, self._config, self.initial_scale(edge))

    def initial_scale(self, edge: Edge) -> float | None:
        """0 for edges outside the U-Net if the U-Net's edges are anchored, otherwise 1."""
        if not self._config.edge_scale:
            return None
        return float(not self._config.anchored_edges or edge in unet_edges(self._config.levels))

    def build_layer(self, layer: Layer) -> nn.Module:
        in_channels, out_channels = self._config.layer_channels(layer)
        stride = self.layer_stride(layer)
        if layer in self._fixed:
            return build_operation(self._fixed[layer], in_channels, out_channels, stride)
        candidates = {
            name: build_operation(name, in_channels, out_channels, stride)
            for name in self._config.layer_candidates(layer)
        }
        return LayerChoice(candidates, label=label([str(layer.node), layer.kind]))

    def is_normalised(self, layer: Layer) -> bool:
        return super().is_normalised(layer) and self._fixed.get(layer) != "identity"

    def costs(self) -> dict[str, list[float]]:
        """Multiply-adds per input voxel of each candidate of each searched choice, by label."""
        costs = {}
        for layer in self.searched_layers:
            choice: Any = self.layers[module_key(layer)]
            costs[str(layer)] = [self._cost(layer, choice[name]) for name in choice.names]
        for edge in self.searched_edges:
            costs[str(edge)] = [0.0, self._cost(edge, self.edges[module_key(edge)])]
        return costs

    def fixed_costs(self) -> dict[str, list[float]]:
        """Multiply-adds per input voxel of what is not searched but the head, by label."""
        costs = {str(layer): [self._cost(layer, self.layers[module_key(layer)])] for layer in self._fixed}
        return costs | {
            str(edge): [self._cost(edge, self.edges[module_key(edge)])] for edge in self.fixed_edges
        }

    def _cost(self, part: Edge | Layer, module: nn.Module) -> float:
        """Multiply-adds per input voxel of the module of an edge or layer."""
        if isinstance(part, Edge):
            level = max(part.source.level, part.joint_level)
        else:
            level = part.node.level + (part.kind == "expansion")
        places = 1 / math.prod(
            step for stride in self._config.level_strides[1 : level + 1] for step in stride
        )
        return _multiply_adds(module, places)

    def genotype(self, sample: Mapping[str, Any], provenance: Mapping[str, Any] | None = None) -> Genotype:
        """The genotype of a sample, without dead edges and unused layers.

        Args:
            sample: the choices of any NNI strategy, by label (``{"N0.0-N0.1": 1, ...}``).
            provenance: origin of the genotype, free form.

        Raises:
            UserError: if the sample's edges cut the output off from the input.
        """
        edges = [e for e in self.searched_edges if _is_kept(sample[str(e)])] + list(self.fixed_edges)
        operations = {layer: str(sample[str(layer)]) for layer in self.searched_layers} | self._fixed
        return Genotype.from_choices(self._config.levels, edges, operations, provenance)


def _multiply_adds(module: nn.Module, voxels: float) -> float:
    """Multiply-adds of a module without biases that applies all kernels at ``voxels`` places."""
    return voxels * sum(parameter.numel() for name, parameter in module.named_parameters() if "conv" in name)


def _is_kept(choice: Any) -> bool:
    """Whether the edge is chosen; NNI gives the chosen index as a number or as a list of one."""
    return (choice[0] if isinstance(choice, (list, tuple)) else choice) == KEPT
