"""NNI's policy-based reinforcement learning under hard cost limits; needs tianshou and gym."""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

from collections.abc import Callable
from functools import partial
from random import Random

import numpy as np
import torch
from nni.mutable import Sample, SampleValidationError
from nni.nas.strategy import PolicyBasedRL
from nni.nas.strategy.rl import has_tianshou

from search_space.errors import UserError
from search_space.genotype import Genotype

from .proposals import ArchitectureSpace, Measure, measure_proposals
from .sampling import Sampler

LEARNING_RATE = 3e-3
"""The policy learns at this rate; NNI's own, 1e-4, is meant for thousands of trials."""
PATIENCE = 1000
"""Number of proposals in a row without a network within the limits, before the search ends."""


def check_packages() -> None:
    """Raises :class:`UserError` if the packages that NNI's PolicyBasedRL needs are missing."""
    if not has_tianshou:
        raise UserError(
            "strategy rl: NNI's PolicyBasedRL needs tianshou and gym; pip install 'uxnet-search[rl]', or take "
            "strategy: evolution"
        )


class LedSpace(ArchitectureSpace):
    """The space for a policy that knows no limits: a proposal is changed until it keeps them."""

    def freeze(self, sample: Sample) -> ArchitectureSpace:
        """The nearest architecture that a random walk finds within the limits."""
        choices = dict(sample)
        if self.sampler.led_into_limits(Random(str(sorted(choices.items()))), choices, self.excess) is None:
            raise SampleValidationError("no path to the output, or beyond the limits")
        return super().freeze(choices)


def reinforce(
    sampler: Sampler,
    measure: Measure,
    *,
    excess: Callable[[Genotype], float],
    num_measured: int,
    population: int,
    seed: int,
) -> None:
    """Measures what a policy draws, and lets it learn from the values (PPO).

    See :func:`measure_proposals`. An architecture that the policy draws again counts again.

    Args:
        sampler, measure, excess, num_measured: see :func:`measure_proposals`.
        population: the policy learns after each quarter of it.
        seed: seed of the random numbers.

    Raises:
        UserError: if a package is missing.
    """
    check_packages()
    from nni.nas.strategy._rl_impl import default_policy_fn  # exists only with these packages

    def apart(genotype: Genotype) -> float:
        """The value; a measurement leaves the policy's random numbers alone."""
        state = np.random.get_state()
        with torch.random.fork_rng([]):
            value = measure(genotype)
        np.random.set_state(state)
        return value

    torch.manual_seed(seed)
    np.random.seed(seed)
    strategy = PolicyBasedRL(
        samples_per_update=max(2, population // 4),
        reward_for_invalid=0.0,
        policy_fn=partial(default_policy_fn, lr=LEARNING_RATE),
    )
    strategy._invalid_patience = PATIENCE
    measure_proposals(strategy, sampler, apart, excess=excess, num_measured=num_measured, space=LedSpace)
