"""The drawing of architectures: labels fit and do not overlap, edges hide nothing."""

import random

import numpy as np
import pytest
from drawings import faults, random_genotype, random_state
from matplotlib.text import Text

from search_space import presets
from search_space.grid import Grid
from search_space.operations import legal_operations
from uxnet_eval.drawing import (
    draw,
    label_boxes,
    pixels,
)
from uxnet_eval.drawing.layout import Layout

# Labels


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_no_label_of_a_supernet_state_overlaps(levels, spatial_dims):
    rng = random.Random(levels)
    grid, gates, alphas = random_state(rng, levels, spatial_dims)
    for tau in (0.0, 0.05, 0.75, 1.0):
        figure = draw(grid=grid, gates=gates, alphas=alphas, spatial_dims=spatial_dims, prune_threshold=tau)
        assert faults(figure) == []


@pytest.mark.slow
def test_a_thousand_random_genotypes_have_no_overlapping_labels():
    rng = random.Random(0)
    for index in range(1000):
        levels, spatial_dims = rng.randint(2, 5), rng.choice((2, 3))
        figure = draw(
            random_genotype(rng, levels, spatial_dims), spatial_dims=spatial_dims, title=f"{index:05d}"
        )
        assert faults(figure) == []


def test_thirty_random_genotypes_are_rendered_without_overlapping_labels():
    rng = random.Random(1)
    for index in range(30):
        levels, spatial_dims = rng.randint(2, 5), rng.choice((2, 3))
        figure = draw(random_genotype(rng, levels, spatial_dims), spatial_dims=spatial_dims, title="random")
        assert faults(figure) == []
        if index % 6 == 0:
            assert pixels(figure).min() < 100


@pytest.mark.parametrize("kind", ["normal", "reduction", "expansion"])
@pytest.mark.parametrize("dpi", [50, 110, 300])
def test_every_operation_fits_its_card_next_to_a_weight(kind, dpi):
    for name in legal_operations(kind, 3):
        alphas = {layer: {name: 1.0} for layer in Grid(3).layers if layer.kind == kind}
        for spatial_dims in (2, 3):
            assert faults(draw(grid=Grid(3), alphas=alphas, spatial_dims=spatial_dims, dpi=dpi)) == []


def test_the_measured_boxes_hold_the_ink_of_the_letters():
    rng = random.Random(2)
    grid, gates, alphas = random_state(rng, 4)
    figure = draw(grid=grid, gates=gates, alphas=alphas, title="Ågy |q τ")
    boxes, with_text = label_boxes(figure), pixels(figure).astype(int)
    for artist in figure.artists:
        if isinstance(artist, Text):
            artist.set_visible(False)
    ink = np.abs(with_text - pixels(figure)).sum(2)[::-1] > 0  # rows from the bottom up
    covered = np.zeros_like(ink)
    for box in boxes:
        rows = slice(max(0, int(box.y0) - 1), int(box.y1) + 2)
        columns = slice(max(0, int(box.x0) - 1), int(box.x1) + 2)
        assert ink[rows, columns].any(), box
        covered[rows, columns] = True
    assert ink.any() and not (ink & ~covered).any()


def test_faults_are_found():
    figure = draw(presets.unet(2), title="net")
    assert faults(figure) == []
    title = next(a for a in figure.artists if isinstance(a, Text) and a.get_text() == "net")
    name = next(a for a in figure.artists if isinstance(a, Text) and a.get_text() == "N0.0")
    x, y = title.get_position()
    title.set_position((x - 1, y))
    assert faults(figure) == ["net"]
    title.set_position(name.get_position())
    assert ("net", "N0.0") in faults(figure) or ("N0.0", "net") in faults(figure)


@pytest.mark.parametrize("title", ["x" * 400, "50 % of $N_{0}$ and \\alpha", "two\nlines", ""])
def test_any_title_is_one_line_that_fits(title):
    figure = draw(presets.unet(2), title=title)
    assert faults(figure) == []
    assert pixels(figure).shape[2] == 3


@pytest.mark.parametrize("figsize", [(6, 3), (20, 20), (30, 4)])
def test_labels_scale_with_the_figure(figsize):
    figure = draw(presets.full(5), figsize=figsize, title="scaled")
    assert tuple(figure.get_size_inches()) == figsize
    assert faults(figure) == []


# Routes of the edges


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 6, 7])
def test_edges_hide_no_card_no_legend_and_have_a_port_each(levels):
    layout = Layout(Grid(levels), 1.6, (2.4, 1.5))
    t = np.linspace(0, 1, 200)[:, None]
    ends = []
    for edge in layout.grid.edges:
        a, b, c, d = (np.array(point) for point in layout.curve(edge))
        points = a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3
        assert (points > 0).all() and (points < (layout.width, layout.height)).all()
        for box in [*map(layout.card, layout.grid.nodes), layout.legend]:
            inside = (points > (box.x0 + 1e-6, box.y0 + 1e-6)) & (points < (box.x1 - 1e-6, box.y1 - 1e-6))
            assert not inside.all(1).any(), f"{edge} crosses {box}"
        ends += [("from", edge.source, tuple(a.round(3))), ("to", edge.target, tuple(d.round(3)))]
    assert len(set(ends)) == 2 * len(layout.grid.edges)


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 6, 7])
def test_levels_go_down_stages_go_right_and_cards_are_apart(levels):
    layout = Layout(Grid(levels), 1.6, (2.4, 1.5))
    for node in layout.grid.nodes:
        card = layout.card(node)
        assert 0 < card.x0 < card.x1 < layout.width and 0 < card.y0 < card.y1 < layout.height
        for other in layout.grid.nodes:
            if other.stage > node.stage:
                assert layout.card(other).x0 > card.x1
            if other.level > node.level:
                assert layout.card(other).y1 < card.y0
