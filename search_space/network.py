"""The fixed network of a genotype, and the forward pass that it shares with the search space.

This module is plain PyTorch without NNI. Shapes: B batch, C channels, *S = H W or D H W.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .aggregation import Align, Features, SharedAggregation
from .config import SearchSpaceConfig
from .errors import UserError
from .genotype import Genotype
from .grid import Edge, Layer, Node
from .layers import CONV, NormAct, build_operation
from .operations import check_operation
from .presets import unet_edges


def module_key(part: Edge | Layer | Node) -> str:
    """The name of an edge, layer or node as a ``ModuleDict`` key, without dots: ``N0_2-N1_0``.

    It is built from integers, because ``torch.compile`` cannot follow ``str.replace``.
    """
    if isinstance(part, Node):
        return f"N{part.stage}_{part.level}"
    if isinstance(part, Edge):
        return f"{module_key(part.source)}-{module_key(part.target)}"
    return f"{module_key(part.node)}/{part.kind}"


class Aggregation(Protocol):
    """Computes the sum of a node's inputs (equation 1)."""

    def __call__(self, edges: list[Edge], features: Features) -> Tensor:
        """The sum over ``edges``, which share one target level: (B, C_b, *S_b)."""
        ...


class GridNetwork(nn.Module):
    """The computation that the fixed network and the search space share.

    Encoder node:  N0.j = normal(reduce(sum_{k<j} g T_{k->j-1}(N0.k)));  N0.0 = normal(input).
    Decoder node:  N{i}.{j} = normal(fine + expand(coarse)). ``fine`` and ``coarse`` are the sums
    over the sources of stage i - 1 at levels k <= j and k > j.

    The parameters of an edge or layer have the same names in both, so a state dict fits both.
    """

    checkpointed_levels = 0
    """Number of levels, from the finest on, whose layers keep only their input for the backward
    pass and are computed again in it: the same numbers, less memory, more time."""

    def __init__(self, config: SearchSpaceConfig, edges: Iterable[Edge], layers: Iterable[Layer]) -> None:
        super().__init__()
        self.config = config
        edge_list, layer_list = list(edges), list(layers)
        self.edges = nn.ModuleDict({module_key(edge): self.build_edge(edge) for edge in edge_list})
        self.layers = nn.ModuleDict({module_key(layer): self.build_layer(layer) for layer in layer_list})
        self.norms = nn.ModuleDict(
            {
                module_key(layer): NormAct(config.channels(layer.node.level), config.spatial_dims)
                for layer in layer_list
                if self.is_normalised(layer)
            }
        )
        self.head = CONV[config.spatial_dims](config.channels(0), config.num_classes, 1)
        self.coarse_heads = nn.ModuleDict()
        self.edges_into: dict[Node, list[Edge]] = {}
        for edge in edge_list:
            self.edges_into.setdefault(edge.target, []).append(edge)
        used = {layer.node for layer in layer_list}
        self.nodes = [node for node in config.grid.nodes if node in used]
        self.aggregation: Aggregation | None = None
        """Computes the sum of a node's inputs; None: edge by edge."""
        self.node_weights: Callable[[], Mapping[Node, Tensor]] | None = None
        """Gives scalars that multiply the outputs of nodes; a supernet sets it."""
        self.apply(_initialise)

    def build_edge(self, edge: Edge) -> Align:
        """The module T of an edge."""
        return Align(
            edge.source.level,
            edge.joint_level,
            self.config.channels,
            self.config.level_strides,
            self.initial_scale(edge),
        )

    def initial_scale(self, edge: Edge) -> float | None:
        """The initial value of an edge's learned scale; None: the edge has none."""
        raise NotImplementedError

    def build_layer(self, layer: Layer) -> nn.Module:
        """The module of a layer."""
        raise NotImplementedError

    def is_normalised(self, layer: Layer) -> bool:
        """Whether norm and activation follow; an expansion is first added to the fine inputs."""
        return layer.kind != "expansion"

    def layer_stride(self, layer: Layer) -> tuple[int, ...]:
        """The stride between the two levels that a layer joins; all 1 for a normal layer."""
        level = layer.node.level + (layer.kind == "expansion")
        return self.config.level_strides[0 if layer.kind == "normal" else level]

    def aggregate(self, edges: list[Edge], features: Features) -> Tensor:
        """The sum of ``edges``, which enter one node at one level, (B, C_b, *S_b)."""
        if self.aggregation is not None:
            return self.aggregation(edges, features)
        total = self.edges[module_key(edges[0])](features[edges[0].source])
        for edge in edges[1:]:
            total = total + self.edges[module_key(edge)](features[edge.source])
        return total

    def share_aggregation(self, gate: Callable[[Edge], Tensor | None] = lambda edge: None) -> None:
        """Switches to :class:`SharedAggregation` with these gates; None stands for 1."""
        modules = {
            edge: cast(Align, self.edges[module_key(edge)])
            for edges in self.edges_into.values()
            for edge in edges
        }
        self.aggregation = SharedAggregation(modules, self.config.level_strides, gate)

    def supervise(self, nodes: Iterable[Node]) -> None:
        """Adds a head to each of these nodes, for deep supervision; see :meth:`forward`."""
        for node in nodes:
            head = CONV[self.config.spatial_dims](
                self.config.channels(node.level), self.config.num_classes, 1
            )
            _initialise(head)
            self.coarse_heads[module_key(node)] = head

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """The logits (B, num_classes, *S) of images (B, in_channels, *S).

        Each axis of S is a multiple of the divisor, and the lowest level holds more than one voxel.
        In training mode, a supervised network gives a list: these logits, then those of the coarse
        heads at the resolutions of their nodes.

        Raises:
            UserError: if the number of channels or the size does not fit.
        """
        features = self.features(image)
        logits = self.head(features[self.config.grid.output])
        if not (self.training and self.coarse_heads):
            return logits
        maps = {module_key(node): x for node, x in features.items()}
        return [logits, *(head(maps[key]) for key, head in self.coarse_heads.items())]

    def features(self, image: Tensor) -> Features:
        """The feature maps (B, C_j, *S_j) of all nodes for images as in :meth:`forward`."""
        self._check_input(image)
        features = Features()
        weights = self.node_weights() if self.node_weights else {}
        for node in self.nodes:
            features[node] = self._node(node, image, features, weights.get(node))
        return features

    def _node(self, node: Node, image: Tensor, features: Features, scale: Tensor | None) -> Tensor:
        edges = self.edges_into.get(node, [])
        if node.stage == 0:
            if node.level == 0:
                return self._layer(Layer(node, "normal"), image)
            return self._layer(
                Layer(node, "normal"),
                self._layer(Layer(node, "reduction"), self.aggregate(edges, features)),
                scale,
            )
        fine = [edge for edge in edges if not edge.is_coarse]
        coarse = [edge for edge in edges if edge.is_coarse]
        total = self.aggregate(fine, features) if fine else None
        if coarse:
            expanded = self._layer(Layer(node, "expansion"), self.aggregate(coarse, features))
            total = expanded if total is None else total + expanded
        assert total is not None, f"{node} has no inputs"
        return self._layer(Layer(node, "normal"), total, scale)

    def _layer(
        self, layer: Layer, x: Tensor, scale: Tensor | None = None, recomputing: bool = False
    ) -> Tensor:
        """Operation, norm and activation of the layer, times ``scale``."""
        if layer.node.level < self.checkpointed_levels and torch.is_grad_enabled() and not recomputing:
            return checkpoint(self._layer, layer, x, scale, recomputing=True, use_reentrant=False)
        key = module_key(layer)
        x = self.layers[key](x)
        if key in self.norms:
            return self.norms[key](x, scale)
        return x if scale is None else x * scale.to(x.dtype)

    def _check_input(self, image: Tensor) -> None:
        size, divisor = tuple(image.shape[2:]), self.config.divisor
        if len(size) != len(divisor) or image.shape[1] != self.config.in_channels:
            raise UserError(
                f"input of shape {tuple(image.shape)}: expected (batch, {self.config.in_channels} channels, "
                f"{self.config.spatial_dims} axes)"
            )
        if any(s % d for s, d in zip(size, divisor, strict=True)):
            raise UserError(f"input of size {size}: each axis must be a multiple of {divisor}; pad it")
        if size == divisor and Node(0, self.config.levels - 1) in self.nodes:
            raise UserError(
                f"input of size {size}: one voxel would be left at the lowest level, where instance norm needs more "
                "than one; pad it, or use a larger patch or fewer levels"
            )


class UXNet(GridNetwork):
    """The fixed network of a genotype; it has live nodes and edges only.

    Args:
        config: channels, strides and classes; its candidates and switches have no effect.
        genotype: the architecture.

    Raises:
        UserError: if the genotype has another number of levels than the config, or if an operation
            does not exist in this number of dimensions or does not fit the number of channels.
    """

    def __init__(self, config: SearchSpaceConfig, genotype: Genotype) -> None:
        if genotype.levels != config.levels:
            raise UserError(
                f"genotype has {genotype.levels} levels, the configuration {config.levels}; "
                "give strides for the same number of levels"
            )
        for layer, name in genotype.operations.items():
            check_operation(name, layer.kind, config.spatial_dims, f"genotype: layer {layer}")
        self._operations = dict(genotype.operations)
        self._edges = frozenset(genotype.edges)
        self._scaled = genotype.edge_scale
        super().__init__(config.with_widths(genotype.widths), genotype.edges, genotype.layers)
        self.genotype = genotype
        self.share_aggregation()

    def initial_scale(self, edge: Edge) -> float | None:
        """1 for the U-Net's edges and 0 for the others, so that training starts from the U-Net.

        If no edge of the U-Net enters a node, its edges start at 1; it would otherwise be 0.
        """
        if not self._scaled:
            return None
        anchors = unet_edges(self.config.levels) & self._edges
        return float(edge in anchors or all(anchor.target != edge.target for anchor in anchors))

    def build_layer(self, layer: Layer) -> nn.Module:
        in_channels, out_channels = self.config.layer_channels(layer)
        try:
            return build_operation(
                self._operations[layer], in_channels, out_channels, self.layer_stride(layer)
            )
        except ValueError as error:
            raise UserError(f"genotype: layer {layer}: {error}") from None

    def is_normalised(self, layer: Layer) -> bool:
        return super().is_normalised(layer) and self._operations[layer] != "identity"

    def inherit(self, supernet_state: Mapping[str, Tensor]) -> None:
        """Copies the weights of a supernet, whose candidates are ``layers.<layer>.<operation>``.

        Raises:
            UserError: if the supernet lacks a weight, because the genotype is of another space.
        """
        state = dict(supernet_state)
        for layer, name in self._operations.items():
            inner, outer = f"layers.{module_key(layer)}.{name}.", f"layers.{module_key(layer)}."
            for key in supernet_state:
                if key.startswith(inner):
                    state[outer + key.removeprefix(inner)] = state.pop(key)
        own = self.state_dict()
        for key, value in own.items():
            if key not in state or not self._takes(value.shape, state[key].shape):
                raise UserError(
                    f"weight {key} is not in the supernet: the genotype is of another search space"
                )
        self.load_state_dict({key: leading_part(state[key], value.shape) for key, value in own.items()})

    def _takes(self, shape: Sequence[int], shared: Sequence[int]) -> bool:
        """Whether a supernet's weight fits: same shape, or as wide or wider for searched widths."""
        if self.genotype.widths is None or len(shape) != len(shared):
            return tuple(shape) == tuple(shared)
        return all(own <= there for own, there in zip(shape, shared, strict=True))


def leading_part(weight: Tensor, shape: Sequence[int]) -> Tensor:
    """The first channels of a weight of a wider network, as a view of shape ``shape``."""
    return weight[tuple(slice(0, size) for size in shape)]


def _initialise(module: nn.Module) -> None:
    """He initialisation for LeakyReLU(0.01), as nnU-Net does; biases are zero."""
    if isinstance(module, nn.modules.conv._ConvNd):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
