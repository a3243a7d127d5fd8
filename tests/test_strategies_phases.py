"""The phases of a search, by hand-computed values: 2 epochs of warm-up, then 10 more."""

from __future__ import annotations

import math
from typing import Any

import pytest

from strategies.phases import Phase
from strategies.settings import StrategySettings


def phases(num_epochs: int = 12, **settings: Any) -> list[Phase]:
    chosen = StrategySettings(**({"warmup_epochs": 2} | settings))
    return [Phase(chosen, epoch, num_epochs) for epoch in range(num_epochs)]


def test_names_of_the_phases() -> None:
    # 10 epochs follow the warm-up: 6 of search (60 %), 2 of commitment, 2 of adaptation (20 %).
    expected = ["warm-up"] * 2 + ["search"] * 6 + ["commitment"] * 2 + ["adaptation"] * 2
    assert [phase.name for phase in phases()] == expected
    assert [phase.is_committed for phase in phases()] == [False] * 8 + [True] * 4


def test_a_search_that_does_not_commit_has_two_phases() -> None:
    assert [phase.name for phase in phases(commit=False)] == ["warm-up"] * 2 + ["search"] * 10
    assert not any(phase.is_committed for phase in phases(commit=False))


def test_without_warm_up_the_search_begins_at_once() -> None:
    first, *others = phases(5, warmup_epochs=0)
    assert (first.name, first.warmth, first.progress) == ("search", 1.0, 0.0)
    assert [phase.name for phase in others] == ["search", "search", "commitment", "adaptation"]


def test_a_search_of_warm_up_alone() -> None:
    assert [phase.name for phase in phases(2)] == ["warm-up", "warm-up"]
    assert [phase.progress for phase in phases(2)] == [0.0, 0.0]


def test_progress_warmth_and_commitment() -> None:
    tenths = [0, 0, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert [phase.progress for phase in phases()] == pytest.approx(tenths)
    assert [phase.warmth for phase in phases()] == [0, 0.5] + [1] * 10
    sixths = [0, 0, 0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 1, 1]
    assert [phase.commitment for phase in phases()] == pytest.approx(sixths)


def test_temperature_falls_geometrically_until_the_commitment() -> None:
    # 1/64 = 2^-6, so that each of the six epochs of search halves T.
    halves = [1, 1, 1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32] + [1 / 64] * 4
    chosen = phases(final_temperature=1 / 64)
    assert [phase.temperature for phase in chosen] == pytest.approx(halves)
    assert [phase.temperature for phase in phases(final_temperature=1.0)] == [1.0] * 12


def test_sparsity_weight_rises_or_is_constant() -> None:
    rising = [phase.sparsity_weight for phase in phases(sparsity_weight=3.0)]
    assert rising == pytest.approx([0, 0, 0, 0.5, 1, 1.5, 2, 2.5, 3, 3, 3, 3])
    constant = phases(sparsity_weight=3.0, sparsity_schedule="constant")
    assert [phase.sparsity_weight for phase in constant] == [3.0] * 12


def test_architecture_steps() -> None:
    with_edges = [phase.has_architecture_steps(searches_edges=True) for phase in phases()]
    assert with_edges == [False] * 2 + [True] * 8 + [False] * 2
    without = [phase.has_architecture_steps(searches_edges=False) for phase in phases()]
    assert without == [False] * 2 + [True] * 6 + [False] * 4
    for searches_edges in (True, False):
        steps = [phase.has_architecture_steps(searches_edges) for phase in phases(commit=False)]
        assert steps == [False] * 2 + [True] * 10


def test_learning_rates() -> None:
    chosen = phases(alpha_learning_rate=0.4, beta_learning_rate=0.2, final_temperature=1 / 64)
    alphas = [0.4, 0.4, 0.4, 0.2, 0.1, 0.05, 0.025, 0.0125, 0, 0, 0, 0]  # falls with T, then fixed
    assert [phase.alpha_learning_rate() for phase in chosen] == pytest.approx(alphas)
    assert [phase.beta_learning_rate() for phase in chosen] == [0.2] * 12


def test_cosine_schedule() -> None:
    chosen = phases(6, commit=False, beta_learning_rate=1.0, beta_schedule="cosine")
    # (1 + cos(pi k / 4)) / 2 for k = 0 in the warm-up, then 0 to 3.
    half_root = math.sqrt(2) / 4
    expected = [1, 1, 1, 0.5 + half_root, 0.5, 0.5 - half_root]
    assert [phase.beta_learning_rate() for phase in chosen] == pytest.approx(expected)
