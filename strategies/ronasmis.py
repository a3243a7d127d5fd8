"""RONASMIS (Bae et al., MICCAI 2019) on this space: a controller that learns by policy gradient.

As in the paper, a recurrent controller draws the operation of every layer and the skips of the
whole network, all networks share their weights, and the controller learns from their Dice by
REINFORCE. The paper's choices (its own layers and skips of a U-Net) are those of this space here.
The baseline of a reward is the mean of networks that were judged on the same patches.
"""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.errors import UserError
from search_space.genotype import Genotype

from .sampling import step_generator
from .single_path.sampling import MAX_DRAWS, Choices, Sampler

HIDDEN = 64
"""Size of the controller's state."""
ENTROPY_WEIGHT = 1e-3
"""Weight of the entropy, which keeps the controller from an early decision."""
MAX_REPEATS = 20
"""Number of draws per measured network, until a converged controller counts as exhausted."""


class Controller(nn.Module):
    """An LSTM that draws one value of each choice, one after the other; at first all are equal.

    Args:
        choices: the values of each choice, by label.
    """

    def __init__(self, choices: Mapping[str, Sequence[Any]]) -> None:
        super().__init__()
        self.choices = {label: tuple(values) for label, values in choices.items()}
        self._free = [label for label, values in self.choices.items() if len(values) > 1]
        self.start = nn.Parameter(torch.zeros(1, HIDDEN))
        self.cell = nn.LSTMCell(HIDDEN, HIDDEN)
        sizes = [len(self.choices[label]) for label in self._free]
        self.embeddings = nn.ModuleList(nn.Embedding(size, HIDDEN) for size in sizes)
        heads = [nn.Linear(HIDDEN, size) for size in sizes]
        for head in heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.heads = nn.ModuleList(heads)

    def _walk(self, pick: Callable[[str, Tensor], int]) -> tuple[Choices, Tensor, Tensor]:
        """Values, their log probability and the mean entropy, if ``pick`` gives each index."""
        x, state = self.start, None
        values = {label: values[0] for label, values in self.choices.items()}
        log_probability, entropy = self.start.new_zeros(()), self.start.new_zeros(())
        for label, embedding, head in zip(self._free, self.embeddings, self.heads, strict=True):
            state = self.cell(x, state)
            log_probabilities = F.log_softmax(head(state[0])[0], -1)
            index = pick(label, log_probabilities)
            values[label] = self.choices[label][index]
            log_probability = log_probability + log_probabilities[index]
            entropy = entropy - (log_probabilities.exp() * log_probabilities).sum() / len(self._free)
            x = embedding(torch.tensor([index], device=x.device))
        return values, log_probability, entropy

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> Choices:
        """Values that are drawn by their probabilities."""
        return self._walk(
            lambda label, rows: int(torch.multinomial(rows.exp().cpu(), 1, generator=generator))
        )[0]

    @torch.no_grad()
    def likeliest(self) -> Choices:
        """The likeliest value of each choice, given those before it."""
        return self._walk(lambda label, rows: int(rows.argmax()))[0]

    def policy_loss(self, drawn: Sequence[Choices], rewards: Sequence[float]) -> Tensor:
        """The loss of REINFORCE for networks that were judged on the same images, a scalar.

        The advantage of a reward is its difference from the mean, in standard deviations.
        """
        values = torch.tensor(rewards)
        advantages = (values - values.mean()) / (values.std() + 1e-6)
        loss = self.start.new_zeros(())
        for choices, advantage in zip(drawn, advantages.tolist(), strict=True):
            indices = {label: self.choices[label].index(choices[label]) for label in self._free}
            _, log_probability, entropy = self._walk(_given(indices))
            loss = loss - (advantage * log_probability + ENTROPY_WEIGHT * entropy) / len(drawn)
        return loss


def _given(indices: Mapping[str, int]) -> Callable[[str, Tensor], int]:
    """Picks indices that are known, one for each choice."""
    return lambda label, rows: indices[label]


def draw_within(
    controller: Controller, sampler: Sampler, excess: Callable[[Genotype], float], *numbers: int
) -> tuple[Choices, Genotype]:
    """A network that the controller draws, changed until it keeps the cost limits.

    Args:
        controller: draws.
        sampler: the space.
        excess: how far a genotype exceeds the limits.
        numbers: what the draw depends on, such as seed, epoch and step.

    Raises:
        UserError: if none of 20 draws can be changed to keep the limits.
    """
    generator, random = step_generator(*numbers), Random(str(numbers))
    for _ in range(MAX_DRAWS):
        choices = controller.draw(generator)
        genotype = sampler.led_into_limits(random, choices, excess)
        if genotype is not None:
            return choices, genotype
    raise UserError("no network of the controller was found within the limits of cost; widen them")


def explore_with(controller: Controller) -> Callable[..., None]:
    """The exploration by a trained controller: its likeliest network, then those that it draws."""

    def explore(
        sampler: Sampler,
        measure: Callable[[Genotype], float],
        *,
        excess: Callable[[Genotype], float],
        num_measured: int,
        population: int,
        seed: int,
    ) -> None:
        first = sampler.led_into_limits(Random(seed), controller.likeliest(), excess)
        seen = set() if first is None else {first}
        if first is not None:
            measure(first)
        for number in range(MAX_REPEATS * num_measured):
            if len(seen) == num_measured:
                return
            _, genotype = draw_within(controller, sampler, excess, seed, number)
            if genotype not in seen:
                seen.add(genotype)
                measure(genotype)

    return explore
