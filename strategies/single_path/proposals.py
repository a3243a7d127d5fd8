"""The space as NNI's multi-trial strategies see it, and the measuring of what they propose."""

from __future__ import annotations

from search_space import nni_first  # noqa: F401  # isort: skip

import logging
from collections.abc import Callable, Iterable
from random import Random

import nni
from nni.mutable import Categorical, LabeledMutable, Mutable, Sample, SampleValidationError
from nni.mutable.utils import label
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import ExecutableModelSpace
from nni.nas.space.space import ModelStatus
from nni.nas.strategy.base import Strategy
from numpy.random import RandomState

from search_space.errors import UserError
from search_space.genotype import Genotype

from .sampling import Sampler

Measure = Callable[[Genotype], float]
"""Gives the value of an architecture, which a strategy maximises."""


class ArchitectureSpace(ExecutableModelSpace):
    """The choices of a space for NNI's multi-trial strategies, by label.

    The labels are those of :class:`UXNetSpace`. The models are genotypes, because shared weights
    measure a genotype without a network of its own.

    Args:
        sampler: the space.
        evaluator: measures a genotype.
        excess: how far a genotype exceeds the limits; 0 if it keeps them. NNI draws another one if
            it does not.
    """

    def __init__(
        self, sampler: Sampler, evaluator: FunctionalEvaluator, excess: Callable[[Genotype], float]
    ) -> None:
        super().__init__()
        self.sampler, self.evaluator, self.excess = sampler, evaluator, excess
        self.sample: Sample | None = None
        self._choices = [
            Categorical(values, label=label(name.split("/"))) for name, values in sampler.choices.items()
        ]

    def leaf_mutables(self, is_leaf: Callable[[Mutable], bool]) -> Iterable[LabeledMutable]:
        yield from self._choices

    def check_contains(self, sample: Sample) -> SampleValidationError | None:
        try:
            genotype = self.sampler.genotype(sample)
        except UserError as error:  # the output is cut off
            return SampleValidationError(str(error))
        return SampleValidationError("beyond the limits") if self.excess(genotype) else None

    def random(
        self, memo: Sample | None = None, random_state: RandomState | None = None
    ) -> ArchitectureSpace:
        """A random architecture within the limits.

        NNI's own sampling gives up if few architectures are within the limits.
        """
        state = random_state or RandomState()
        choices, _ = self.sampler.draw_choices(Random(int(state.randint(2**31))), self.excess)
        sample = {} if memo is None else memo
        sample.update(choices)
        return self.freeze(sample)

    def freeze(self, sample: Sample) -> ArchitectureSpace:
        self.validate(sample)
        frozen = type(self)(self.sampler, self.evaluator, self.excess)
        frozen.sample, frozen.status = sample, ModelStatus.Frozen
        return frozen

    def executable_model(self) -> Genotype:
        assert self.sample is not None
        return self.sampler.genotype(self.sample)

    def extra_repr(self) -> str:
        return f"{len(self._choices)} choices"


def measure_proposals(
    strategy: Strategy,
    sampler: Sampler,
    measure: Measure,
    *,
    excess: Callable[[Genotype], float],
    num_measured: int,
    space: type[ArchitectureSpace] = ArchitectureSpace,
) -> None:
    """Measures ``num_measured`` architectures that a strategy of NNI proposes.

    It returns nothing: ``measure`` sees every architecture and keeps its results. The same seed and
    the same measurements give the same architectures. A killed run can therefore continue if
    ``measure`` remembers its results.

    Args:
        strategy: one of NNI's multi-trial strategies.
        sampler: the space.
        measure: the value to maximise, such as the Dice with inherited weights.
        excess: the hard limits, see :class:`ArchitectureSpace`.
        num_measured: number of all measured architectures.
        space: how the strategy sees the space.

    Raises:
        UserError: if NNI finds no architecture within the limits.
    """

    def evaluate(genotype: Genotype) -> None:
        seen.append(genotype)
        nni.report_final_result(measure(genotype))

    seen: list[Genotype] = []
    for name in ("evolution", "bruteforce", "rl", "base"):
        logging.getLogger(f"nni.nas.strategy.{name}").setLevel(logging.ERROR)
    # An error of ``measure`` is the caller's to report.
    logging.getLogger("nni.nas.execution.sequential").setLevel(logging.CRITICAL)
    strategy(
        space(sampler, FunctionalEvaluator(evaluate), excess),
        SequentialExecutionEngine(max_model_count=num_measured),
    )
    if not seen:
        raise UserError("the search found no architecture within the limits of cost; widen them")
