"""Pruning, worked out on paper on grids of three levels, and what holds for all gates."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_space import Genotype
from search_space.grid import Edge, Grid, Layer, live_edges
from search_space.operations import default_candidates
from search_space.presets import unet_edges
from strategies.pruning import RescueWarning, derive, keep_edges

# The grid of three levels, edges into the decoder fanning out from every node of the stage before:
#
#   level 0   N0.0 ------- N1.0 ------- N2.0 -> logits
#               | \      X   X        /
#   level 1   N0.1 -|----- N1.1 -----
#               |   |    X
#   level 2   N0.2 -
GRID = Grid(3)


def gates(**values: float) -> dict[Edge, float]:
    """``e01_10=0.9`` is the gate of N0.1-N1.0; all eleven must be given."""
    found = {Edge.parse(f"N{k[1]}.{k[2]}-N{k[4]}.{k[5]}"): value for k, value in values.items()}
    assert set(found) == set(GRID.edges)
    return found


def names(edges: Iterable[Edge]) -> list[str]:
    return sorted(map(str, edges))


# Drawing 1. Gates on the edges into each node:
#   N0.1: from N0.0 .90        N0.2: from N0.0 .30, N0.1 .80
#   N1.0: from N0.0 .95, N0.1 .40, N0.2 .76
#   N1.1: from N0.0 .75, N0.1 .74, N0.2 .85
#   N2.0: from N1.0 .99, N1.1 .10
DRAWING_1 = gates(
    e00_01=0.90, e00_02=0.30, e01_02=0.80,
    e00_10=0.95, e01_10=0.40, e02_10=0.76,
    e00_11=0.75, e01_11=0.74, e02_11=0.85,
    e10_20=0.99, e11_20=0.10,
)  # fmt: skip


def test_drawing_1_at_075() -> None:
    # (a) cuts .30, .40, .74 and .10; .75 itself stays:
    #
    #   N0.0 ---------- N1.0 --- N2.0        N0.0 and N0.2 also enter N1.1,
    #     |           /                      which leads nowhere now.
    #   N0.1         /       N1.1
    #     |         /
    #   N0.2 ------
    #
    # (b) deletes the two edges into N1.1. N0.2 still leads to the output by N1.0, so N0.0-N0.1-N0.2 stays.
    assert names(keep_edges(GRID, DRAWING_1, 0.75)) == [
        "N0.0-N0.1", "N0.0-N1.0", "N0.1-N0.2", "N0.2-N1.0", "N1.0-N2.0",
    ]  # fmt: skip


def test_drawing_1_at_08_cascades() -> None:
    # (a) now cuts .75 and .76 too. N1.1 leads nowhere, so N0.2-N1.1 (.85) goes; then N0.2 leads nowhere and N0.1-N0.2 goes,
    # which passes by itself (.80); then N0.1 leads nowhere and N0.0-N0.1 (.90) goes:
    #
    #   N0.0 ---------- N1.0 --- N2.0
    assert names(keep_edges(GRID, DRAWING_1, 0.8)) == ["N0.0-N1.0", "N1.0-N2.0"]


# Drawing 2. N0.1 and N0.2 lose their inputs:
#   N0.1: from N0.0 .10        N0.2: from N0.0 .20, N0.1 .90
#   N1.0: from N0.0 .90, N0.1 .90, N0.2 .10
#   N1.1: from N0.0 .30, N0.1 .90, N0.2 .90
#   N2.0: from N1.0 .90, N1.1 .90
DRAWING_2 = gates(
    e00_01=0.10, e00_02=0.20, e01_02=0.90,
    e00_10=0.90, e01_10=0.90, e02_10=0.10,
    e00_11=0.30, e01_11=0.90, e02_11=0.90,
    e10_20=0.90, e11_20=0.90,
)  # fmt: skip


def test_drawing_2_what_no_longer_hangs_on_the_input_goes() -> None:
    # (a) leaves seven edges of .90. (b), from the input: N0.1 hangs on nothing, so N0.1-N0.2, N0.1-N1.0 and N0.1-N1.1 go;
    # then N0.2 hangs on nothing, N0.2-N1.1 goes; then N1.1 hangs on nothing, N1.1-N2.0 goes.
    assert names(keep_edges(GRID, DRAWING_2, 0.75)) == ["N0.0-N1.0", "N1.0-N2.0"]
    # With a tau of 0.25 the edge N0.0-N1.1 (.30) holds N1.1, but N0.1 and N0.2 still hang on nothing.
    assert names(keep_edges(GRID, DRAWING_2, 0.25)) == ["N0.0-N1.0", "N0.0-N1.1", "N1.0-N2.0", "N1.1-N2.0"]


# Drawing 3. Gates of all seven paths from N0.0 to N2.0, the weakest in brackets:
#   N1.0, N2.0              .10 .90              [.10]
#   N0.1, N1.0, N2.0        .60 .55 .90          [.55]  <- the widest
#   N0.2, N1.0, N2.0        .70 .45 .90          [.45]
#   N0.1, N0.2, N1.0, N2.0  .60 .50 .45 .90      [.45]
#   N1.1, N2.0              .20 .52              [.20]
#   N0.1, N1.1, N2.0        .60 .65 .52          [.52]
#   N0.2, N1.1, N2.0        .70 .40 .52          [.40]
#   N0.1, N0.2, N1.1, N2.0  .60 .50 .40 .52      [.40]
# The greedy choice at every step (.70 to N0.2, then .45) would give .45.
DRAWING_3 = gates(
    e00_01=0.60, e00_02=0.70, e01_02=0.50,
    e00_10=0.10, e01_10=0.55, e02_10=0.45,
    e00_11=0.20, e01_11=0.65, e02_11=0.40,
    e10_20=0.90, e11_20=0.52,
)  # fmt: skip


def test_drawing_3_is_rescued_by_the_widest_path() -> None:
    message = (
        r"^no path of gates >= 0\.75 leads to the output; restored the widest one: "
        r"N0\.0-N0\.1 \(0\.60\), N0\.1-N1\.0 \(0\.55\), N1\.0-N2\.0 \(0\.90\)$"
    )
    with pytest.warns(RescueWarning, match=message) as caught:
        kept = keep_edges(GRID, DRAWING_3, 0.75)
    assert names(kept) == ["N0.0-N0.1", "N0.1-N1.0", "N1.0-N2.0"]
    assert len(caught) == 1
    assert caught[0].filename == __file__  # the warning points at who asked


def test_drawing_3_needs_no_rescue_just_below_its_width() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = keep_edges(GRID, DRAWING_3, 0.55)
    # Of .60 .70 | .55 .65 | .90, N0.0-N0.2 and N0.1-N1.1 lead nowhere.
    assert names(kept) == ["N0.0-N0.1", "N0.1-N1.0", "N1.0-N2.0"]


def test_rescue_brings_back_what_hangs_on_its_path() -> None:
    # Drawing 4: only N0.0-N0.1 (.60) and weaker ones leave the input; four edges behind it pass.
    #
    #   N0.0          N1.0 --.
    #     | .60     / .90     N2.0
    #   N0.1 ------- N1.1 --'
    drawing = gates(
        e00_01=0.60, e00_02=0.10, e01_02=0.10,
        e00_10=0.10, e01_10=0.90, e02_10=0.10,
        e00_11=0.10, e01_11=0.80, e02_11=0.10,
        e10_20=0.90, e11_20=0.80,
    )  # fmt: skip
    with pytest.warns(
        RescueWarning, match=r"N0\.0-N0\.1 \(0\.60\), N0\.1-N1\.[01] \(0\.[89]0\), N1\.[01]-N2\.0"
    ):
        kept = keep_edges(GRID, drawing, 0.75)
    assert names(kept) == ["N0.0-N0.1", "N0.1-N1.0", "N0.1-N1.1", "N1.0-N2.0", "N1.1-N2.0"]


def test_all_gates_closed_still_gives_a_network() -> None:
    with pytest.warns(RescueWarning, match=r"N0\.0-N1\.0 \(0\.00\), N1\.0-N2\.0 \(0\.00\)$"):
        assert names(keep_edges(GRID, dict.fromkeys(GRID.edges, 0.0), 0.75)) == ["N0.0-N1.0", "N1.0-N2.0"]


ALPHAS = {
    layer: {name: float(place == 1) for place, name in enumerate(default_candidates(layer.kind, 3))}
    for layer in GRID.layers
}
"""The second candidate of every layer is the strongest."""


def test_derived_genotype_has_an_expansion_layer_only_where_a_coarser_level_enters() -> None:
    genotype = derive(GRID, DRAWING_1, ALPHAS, 0.75)
    assert {str(layer): name for layer, name in genotype.operations.items()} == {
        "N0.0/normal": "conv3x3x1",
        "N0.1/reduction": "avg_pool",
        "N0.1/normal": "conv3x3x1",
        "N0.2/reduction": "avg_pool",
        "N0.2/normal": "conv3x3x1",
        "N1.0/expansion": "interpolate",  # N0.2 enters
        "N1.0/normal": "conv3x3x1",
        "N2.0/normal": "conv3x3x1",  # N1.1 does not
    }
    shallow = derive(GRID, DRAWING_1, ALPHAS, 0.8)
    assert list(map(str, shallow.operations)) == ["N0.0/normal", "N1.0/normal", "N2.0/normal"]


def test_of_equal_alphas_the_first_candidate_wins() -> None:
    even = {layer: dict.fromkeys(weights, 0.5) for layer, weights in ALPHAS.items()}
    operations = derive(GRID, DRAWING_1, even, 0.75).operations
    assert {(layer.kind, name) for layer, name in operations.items()} == {
        ("normal", "conv3"), ("reduction", "max_pool"), ("expansion", "transposed_conv"),
    }  # fmt: skip


def test_only_the_order_of_alphas_counts() -> None:
    raw = {layer: {name: 100 * w - 70 for name, w in weights.items()} for layer, weights in ALPHAS.items()}
    assert derive(GRID, DRAWING_1, raw, 0.75) == derive(GRID, DRAWING_1, ALPHAS, 0.75)


def test_fixed_edges_and_operations() -> None:
    # The ablation: nothing is searched but one layer.
    layer = next(iter(ALPHAS))
    fixed = {other: max(weights, key=weights.get) for other, weights in ALPHAS.items() if other != layer}
    genotype = derive(
        GRID,
        {},
        {layer: {"conv3": 0.2, "conv5": 0.8}},
        0.75,
        fixed_operations=fixed,
        fixed_edges=unet_edges(3),
        edge_scale=True,
        provenance={"seed": 5},
    )
    assert genotype.edge_scale
    assert set(genotype.edges) == unet_edges(3)
    assert genotype.operations[layer] == "conv5"
    assert genotype.operations[Layer(GRID.output, "normal")] == "conv3x3x1"
    assert genotype.provenance == {"seed": 5}


SOME_GATES = (
    st.integers(2, 4)
    .map(Grid)
    .flatmap(
        lambda grid: st.tuples(
            st.just(grid),
            st.lists(st.floats(0, 1), min_size=len(grid.edges), max_size=len(grid.edges)).map(
                lambda values: dict(zip(grid.edges, values, strict=True))
            ),
        )
    )
)
THRESHOLD = st.floats(0.01, 0.99)
PROPERTY = settings(max_examples=80, deadline=None, derandomize=True)


def kept_and_rescued(grid: Grid, values: dict[Edge, float], threshold: float) -> tuple[frozenset[Edge], bool]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return keep_edges(grid, values, threshold), bool(caught)


@PROPERTY
@given(SOME_GATES, THRESHOLD, THRESHOLD)
def test_raising_the_threshold_only_removes_edges(
    case: tuple[Grid, dict[Edge, float]], one: float, other: float
) -> None:
    grid, values = case
    more, _ = kept_and_rescued(grid, values, min(one, other))
    fewer, _ = kept_and_rescued(grid, values, max(one, other))
    # Even with the rescue: the widest path passes every threshold that some path passes.
    assert fewer <= more


@PROPERTY
@given(SOME_GATES, THRESHOLD)
def test_without_a_rescue_every_edge_passes_and_no_live_one_is_lost(
    case: tuple[Grid, dict[Edge, float]], threshold: float
) -> None:
    grid, values = case
    kept, rescued = kept_and_rescued(grid, values, threshold)
    passing = {edge for edge, gate in values.items() if gate >= threshold}
    assert rescued == (not live_edges(grid, passing))
    assert live_edges(grid, kept) == kept  # a second look finds nothing more to delete
    if not rescued:
        assert kept == live_edges(grid, passing)


def test_both_cases_occur() -> None:
    """The two properties above are about gates with and without a rescue."""
    assert not kept_and_rescued(GRID, DRAWING_1, 0.75)[1]
    assert kept_and_rescued(GRID, DRAWING_3, 0.75)[1]


@PROPERTY
@given(SOME_GATES, THRESHOLD, st.randoms(use_true_random=False))
def test_derived_genotype_is_always_valid(
    case: tuple[Grid, dict[Edge, float]], threshold: float, draw: random.Random
) -> None:
    grid, values = case
    alphas = {
        layer: {name: draw.random() for name in default_candidates(layer.kind, 2)} for layer in grid.layers
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RescueWarning)
        genotype = derive(grid, values, alphas, threshold)
    assert Genotype.from_dict(genotype.to_dict()) == genotype  # reading checks every rule
    for layer, name in genotype.operations.items():
        assert alphas[layer][name] == max(alphas[layer].values())
