"""One set of weights for every architecture of a space.

It is a single path one-shot supernet (Guo et al. 2020), slimmable in width.
Shapes: B batch, C channels, K classes, *S = H W or D H W.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call

from search_space.errors import UserError
from search_space.genotype import Genotype
from search_space.grid import Layer
from search_space.network import UXNet, leading_part, module_key

NETWORKS_KEPT = 64
"""Number of cached networks, which have shapes but no values; building one takes about 20 ms."""


class SharedWeights(nn.Module):
    """The weights of a supernet; every network of the space uses a part of them.

    A network takes the weights of its operations and edges, and of each weight the first channels
    (as in slimmable networks, Yu et al. 2019). Norms are instance norms, so no running statistics
    have to be computed again for a network.

    Args:
        supernet: holds all candidates at the largest width (a
            :class:`search_space.space.UXNetSpace`). Its parameters have the names of
            :class:`UXNet`, but the name of the candidate follows that of a layer.
        build: builds a genotype's network; it is called on the meta device, so that the network
            takes no memory.
        fixed: the operation of each layer that is not searched; its weights are not named after a
            candidate.
    """

    def __init__(
        self,
        supernet: nn.Module,
        build: Callable[[Genotype], UXNet],
        fixed: Mapping[Layer, str] | None = None,
    ) -> None:
        super().__init__()
        self.supernet = supernet
        self._build = build
        self._fixed = {module_key(layer): name for layer, name in (fixed or {}).items()}
        self._networks = lru_cache(NETWORKS_KEPT)(self._without_values)
        self._names = frozenset(name for name, _ in supernet.named_parameters())

    def _without_values(self, genotype: Genotype) -> tuple[UXNet, dict[str, str]]:
        with torch.device("meta"):
            network = self._build(genotype)
        names = {}
        for name, value in network.named_parameters():
            shared = self._shared_name(name, genotype)
            if shared not in self._names or not _fits(value, self.supernet.get_parameter(shared)):
                raise UserError(f"weight {name} is not in the supernet: the genotype is of another space")
            names[name] = shared
        return network, names

    def _shared_name(self, name: str, genotype: Genotype) -> str:
        """The supernet's name for a parameter of a network."""
        part, _, rest = name.partition(".")
        if part != "layers":
            return name
        key, _, inner = rest.partition(".")
        operation = _operations_by_key(genotype)[key]
        return name if self._fixed.get(key) == operation else f"layers.{key}.{operation}.{inner}"

    def weights(self, genotype: Genotype) -> dict[str, Tensor]:
        """The weights of a genotype's :class:`UXNet`, by name, as views of the shared weights."""
        network, names = self._networks(genotype)
        shapes = {name: value.shape for name, value in network.named_parameters()}
        weights = dict(self.supernet.named_parameters())
        return {name: leading_part(weights[shared], shapes[name]) for name, shared in names.items()}

    def network(self, genotype: Genotype) -> UXNet:
        """A separate network that starts with a copy of the shared weights."""
        network = self._build(genotype)
        weights = {name: value.detach().clone() for name, value in self.weights(genotype).items()}
        network.load_state_dict(weights)
        return network

    def forward(self, genotype: Genotype, image: Tensor) -> Tensor | list[Tensor]:
        """The logits (B, K, *S) of a genotype's network for images (B, C, *S).

        With deep supervision, it is a list as in :meth:`UXNet.forward`.
        """
        network, _ = self._networks(genotype)
        network.train(self.training)
        return functional_call(network, self.weights(genotype), (image,), strict=True)


@lru_cache(NETWORKS_KEPT)
def _operations_by_key(genotype: Genotype) -> dict[str, str]:
    return {module_key(layer): name for layer, name in genotype.operations.items()}


def _fits(value: Tensor, wider: Tensor) -> bool:
    return value.ndim == wider.ndim and all(a <= b for a, b in zip(value.shape, wider.shape, strict=True))
