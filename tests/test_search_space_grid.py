"""The grid against lists written by hand and against an enumeration of all its paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_space.errors import UserError
from search_space.grid import Edge, Grid, Layer, Node, live_edges, live_nodes, widest_path

# Three levels: (edge, level that T aligns its source to, whether it enters through the expansion layer).
THREE_LEVELS = [
    ("N0.0-N0.1", 0, False),  # encoder: one level above the target
    ("N0.0-N0.2", 1, False),
    ("N0.1-N0.2", 1, False),
    ("N0.0-N1.0", 0, False),  # decoder, not coarser than the target: the target's level
    ("N0.1-N1.0", 1, True),  # coarser: one level below the target
    ("N0.2-N1.0", 1, True),
    ("N0.0-N1.1", 1, False),
    ("N0.1-N1.1", 1, False),
    ("N0.2-N1.1", 2, True),
    ("N1.0-N2.0", 0, False),
    ("N1.1-N2.0", 1, True),
]


def edges(*names: str) -> frozenset[Edge]:
    return frozenset(Edge.parse(name) for name in names)


def all_paths(grid: Grid, kept: Iterable[Edge], start: Node | None = None) -> list[tuple[Edge, ...]]:
    """Every path of ``kept`` edges from ``start`` (the input) to the output, one recursion step per edge."""
    start = start or grid.input
    if start == grid.output:
        return [()]
    kept = list(kept)
    return [
        (edge, *rest) for edge in kept if edge.source == start for rest in all_paths(grid, kept, edge.target)
    ]


def test_five_levels_are_the_papers_space() -> None:
    grid = Grid(5)
    assert len(grid.edges) == len(set(grid.edges)) == 50
    # 4 encoder targets with 1 + 2 + 3 + 4 sources; 4 * 5, 3 * 4, 2 * 3 and 1 * 2 edges into the stages 1 to 4.
    assert Counter(edge.target.stage for edge in grid.edges) == {0: 10, 1: 20, 2: 12, 3: 6, 4: 2}
    assert Counter(layer.kind for layer in grid.layers) == {"normal": 15, "reduction": 4, "expansion": 10}
    assert (grid.input, grid.output) == (Node(0, 0), Node(4, 0))


def test_three_levels_edge_by_edge() -> None:
    found = [(str(edge), edge.joint_level, edge.is_coarse) for edge in Grid(3).edges]
    assert found == THREE_LEVELS


def test_three_levels_node_by_node() -> None:
    grid = Grid(3)
    assert [str(node) for node in grid.nodes] == ["N0.0", "N0.1", "N0.2", "N1.0", "N1.1", "N2.0"]
    assert grid.edges_into(Node(0, 0)) == ()
    assert [str(e.source) for e in grid.edges_into(Node(0, 2))] == ["N0.0", "N0.1"]
    assert [str(e.source) for e in grid.edges_into(Node(1, 1))] == ["N0.0", "N0.1", "N0.2"]
    assert [str(e.source) for e in grid.edges_into(Node(2, 0))] == ["N1.0", "N1.1"]
    assert [str(layer) for layer in grid.layers] == [
        "N0.0/normal",
        "N0.1/reduction",
        "N0.1/normal",
        "N0.2/reduction",
        "N0.2/normal",
        "N1.0/expansion",
        "N1.0/normal",
        "N1.1/expansion",
        "N1.1/normal",
        "N2.0/expansion",
        "N2.0/normal",
    ]


@pytest.mark.parametrize("levels", range(2, 8))
def test_edges_point_forward_in_the_order_of_computation(levels: int) -> None:
    grid = Grid(levels)
    order = {node: place for place, node in enumerate(grid.nodes)}
    assert all(order[edge.source] < order[edge.target] for edge in grid.edges)
    assert [e for node in grid.nodes for e in grid.edges_into(node)] == list(grid.edges)


def test_names_go_both_ways() -> None:
    for edge in Grid(4).edges:
        assert Edge.parse(str(edge)) == edge
    assert str(Edge(Node(0, 2), Node(1, 0))) == "N0.2-N1.0"
    assert str(Layer(Node(10, 0), "normal")) == "N10.0/normal"


@pytest.mark.parametrize("name", ["", "N1", "n1.0", "N1.0 ", "N-1.0", "N1.0.0"])
def test_a_name_that_is_no_node(name: str) -> None:
    with pytest.raises(UserError, match=r"is not a node; expected a name such as N1\.0"):
        Node.parse(name)


def test_a_name_that_is_no_edge() -> None:
    with pytest.raises(UserError, match=r"'N0\.0' is not an edge; expected a name such as N0\.2-N1\.0"):
        Edge.parse("N0.0")
    with pytest.raises(UserError, match=r"'N0\.1-N0\.2' is not a node"):
        Edge.parse("N0.0-N0.1-N0.2")


def test_one_level_is_no_grid() -> None:
    with pytest.raises(UserError, match="levels = 1: the grid needs at least 2"):
        Grid(1)


def test_live_edges_by_hand() -> None:
    # N0.1 leads nowhere, N1.1 hangs on nothing, N0.0 -> N1.0 -> N2.0 is whole.
    kept = edges("N0.0-N0.1", "N0.0-N1.0", "N1.0-N2.0", "N1.1-N2.0", "N0.2-N1.1")
    live = live_edges(Grid(3), kept)
    assert live == edges("N0.0-N1.0", "N1.0-N2.0")
    assert live_nodes(live) == {Node(0, 0), Node(1, 0), Node(2, 0)}


SOME_GRID = st.integers(2, 4).map(Grid)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_live_edges_are_those_on_a_path(data: st.DataObject) -> None:
    grid = data.draw(SOME_GRID)
    kept = data.draw(st.sets(st.sampled_from(grid.edges)))
    assert live_edges(grid, kept) == {edge for path in all_paths(grid, kept) for edge in path}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_widest_path_is_the_best_of_all(data: st.DataObject) -> None:
    grid = data.draw(SOME_GRID)
    # Few values, so that ties are common.
    gates = {edge: data.draw(st.sampled_from([0.0, 0.2, 0.5, 0.6, 0.9, 1.0])) for edge in grid.edges}
    paths = all_paths(grid, grid.edges)

    def width(path: tuple[Edge, ...]) -> float:
        return min(gates[edge] for edge in path)

    found = widest_path(grid, gates)
    widest = [path for path in paths if width(path) == max(map(width, paths))]
    assert found in widest


def test_of_equally_wide_paths_the_shortest_wins() -> None:
    grid = Grid(3)
    assert [str(e) for e in widest_path(grid, dict.fromkeys(grid.edges, 0.5))] == ["N0.0-N1.0", "N1.0-N2.0"]
