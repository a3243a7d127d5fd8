"""The drawing of architectures: what it shows."""

import ast
import random
import re
from pathlib import Path

import numpy as np
import pytest
from drawings import chain, random_genotype, random_state, strokes, texts_of
from matplotlib.colors import to_rgb

from search_space import presets
from search_space.genotype import Genotype
from search_space.grid import Edge, Grid, Layer, Node
from search_space.operations import default_candidates, describe, legal_operations
from uxnet_eval import drawing
from uxnet_eval.drawing import (
    draw,
    label_boxes,
    pixels,
)
from uxnet_eval.drawing.painter import KEPT, PRUNED, edge_style


def test_a_genotype_shows_its_operations_and_tells_its_edges_from_the_rest():
    operations = {layer: presets.default_operation(layer) for layer in Grid(3).layers}
    operations[Layer(Node(0, 1), "normal")] = "conv5_rate2"
    figure = draw(Genotype.from_choices(3, chain(), operations))
    assert list(texts_of(figure, Node(0, 1))) == ["max pooling", "5x5x5 rate 2"]
    assert list(texts_of(figure, Node(1, 0))) == ["transposed conv", "2 x 3x3x3"]
    assert list(texts_of(figure, Node(2, 0))) == ["2 x 3x3x3"], "no coarser level enters: no expansion"
    assert texts_of(figure, Node(1, 1)) == {}, "a dead node has no operation"
    curves = strokes(figure)
    assert len(curves) == len(Grid(3).edges)
    dark = {name for name, curve in curves.items() if sum(curve.get_edgecolor()[:3]) < 1.5}
    assert dark == {str(edge) for edge in chain()}
    assert "3 of 11 edges and 4 of 6 nodes kept" in [box.text for box in label_boxes(figure)]


def test_titles_follow_the_dimensions():
    texts = [box.text for box in label_boxes(draw(presets.unet(3), spatial_dims=2))]
    assert "2 x 3x3" in texts and "2 x 3x3x3" not in texts


def test_gates_set_width_and_colour_and_rule_b_the_rest():
    grid = Grid(3)
    gates = dict.fromkeys(grid.edges, 0.1)
    gates |= {edge: 0.9 for edge in chain()}
    gates[Edge.parse("N0.0-N0.2")] = 0.95  # open, but nothing leads on from N0.2
    gates[Edge.parse("N0.0-N1.1")] = 0.5
    figure = draw(grid=grid, gates=gates)
    curves = strokes(figure)
    kept, weak, half, dead = (
        curves[name] for name in ("N1.0-N2.0", "N0.0-N1.0", "N0.0-N1.1", "N0.0-N0.2")
    )  # fmt: skip
    assert kept.get_linewidth() > half.get_linewidth() > weak.get_linewidth()
    assert to_rgb(kept.get_edgecolor()) == KEPT(0.6)[:3]
    assert to_rgb(half.get_edgecolor()) == PRUNED(0.5 / 0.75)[:3]
    red, green, blue = to_rgb(dead.get_edgecolor())
    assert max(red, green, blue) - min(red, green, blue) < 0.06, "grey"
    texts = [box.text for box in label_boxes(figure)]
    assert "open edge that leads nowhere" in texts and "edge kept to reach the output" not in texts
    assert "3 of 11 edges and 4 of 6 nodes kept" in texts


def test_a_threshold_that_cuts_off_the_output_keeps_the_widest_path_dashed():
    grid = Grid(3)
    gates = dict.fromkeys(grid.edges, 0.2) | {edge: 0.5 for edge in chain()}
    figure = draw(grid=grid, gates=gates)
    dashed = {name for name, curve in strokes(figure).items() if curve.get_linestyle() != "-"}
    solid = {name for name, curve in strokes(figure).items() if curve.get_linestyle() in ("-", "solid")}
    assert dashed - solid == {str(edge) for edge in chain()}
    assert "edge kept to reach the output" in [box.text for box in label_boxes(figure)]


def test_a_lower_threshold_keeps_no_fewer_edges():
    grid, gates, _ = random_state(random.Random(5), 4)
    counts = []
    for tau in (0.0, 0.3, 0.6):
        texts = [box.text for box in label_boxes(draw(grid=grid, gates=gates, prune_threshold=tau))]
        counts.append(next(int(text.split()[0]) for text in texts if text.endswith("kept")))
    assert counts[0] == len(grid.edges) and counts == sorted(counts, reverse=True)


def test_alphas_show_the_leading_operation_and_grey_what_is_not_built():
    grid = Grid(3)
    node = Node(0, 1)
    alphas = {
        layer: {name: 0.5 if k == 1 else 0.4 / (len(names) - 1) for k, name in enumerate(names)}
        for layer in grid.layers
        for names in [default_candidates(layer.kind, 3)]
    }
    alphas[Layer(node, "normal")] = {"conv3": 0.42, "conv5": 0.3, "pseudo3d": 0.28}
    gates = dict.fromkeys(grid.edges, 0.0) | {edge: 1.0 for edge in chain()}
    figure = draw(grid=grid, gates=gates, alphas=alphas)
    assert list(texts_of(figure, node)) == ["average pooling", ".50", "3x3x3", ".42"]
    live, dead = texts_of(figure, node)["3x3x3"], texts_of(figure, Node(1, 1))["trilinear"]
    assert live != dead
    assert texts_of(figure, Node(1, 0))["trilinear"] == live, "a coarser level enters"
    assert texts_of(figure, Node(2, 0))["trilinear"] == dead, "none enters: this layer is not built"


def test_a_genotype_with_gates_and_alphas_decides_what_is_kept():
    genotype = presets.unet(3)
    grid = genotype.grid
    gates = dict.fromkeys(grid.edges, 0.9) | {genotype.edges[0]: 0.3}
    alphas = {Layer(Node(0, 0), "normal"): {"conv3": 0.7, "2xconv3": 0.3}}
    figure = draw(genotype, grid=grid, gates=gates, alphas=alphas)
    assert texts_of(figure, Node(0, 0)).keys() == {"2 x 3x3x3", ".30"}
    assert f"{len(genotype.edges)} of 11 edges and 6 of 6 nodes kept" in [b.text for b in label_boxes(figure)]


def test_a_grid_alone_shows_the_search_space():
    figure = draw(grid=Grid(5))
    texts = [box.text for box in label_boxes(figure)]
    assert "50 edges and 15 nodes to search" in texts
    assert (texts.count("normal"), texts.count("reduction"), texts.count("expansion")) == (15, 4, 10)


def test_all_pictures_of_a_search_have_one_size():
    rng = random.Random(6)
    sizes = {
        pixels(draw(grid=g, gates=s, alphas=a)).shape for g, s, a in (random_state(rng, 4) for _ in range(4))
    }
    grid = Grid(4)
    _, _, alphas = random_state(rng, 4)
    sizes.add(pixels(draw(grid=grid, gates=dict.fromkeys(grid.edges, 0.5), alphas=alphas)).shape)
    assert len(sizes) == 1


# Machado, Oliveira and Fernandes (2009): linear RGB as seen with each dichromacy.
DICHROMACIES = {
    "protanopia": [[0.1521, 1.0526, -0.2047], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0519]],
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6726, 0.0473], [-0.0118, 0.0430, 0.9689]],
    "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


@pytest.mark.parametrize("dichromacy", DICHROMACIES)
def test_kept_and_pruned_edges_differ_for_colour_blind_readers(dichromacy):
    from skimage.color import deltaE_ciede2000, rgb2lab

    def seen(color):
        linear = np.array(to_rgb(color)) ** 2.2
        return rgb2lab(np.clip(np.array(DICHROMACIES[dichromacy]) @ linear, 0, 1) ** (1 / 2.2))

    kept = [seen(edge_style("kept", gate, 0.75)[0]) for gate in np.linspace(0.75, 1, 20)]
    pruned = [seen(edge_style("pruned", gate, 0.75)[0]) for gate in np.linspace(0, 0.7499, 20)]
    assert min(deltaE_ciede2000(a, b) for a in kept for b in pruned) > 12  # 2.3 is just noticeable


def test_empty_gates_and_alphas_count_as_none():
    assert (pixels(draw(presets.unet(2), gates={}, alphas={})) == pixels(draw(presets.unet(2)))).all()


def test_all_titles_are_known_to_the_cards():
    texts = {box.text for box in label_boxes(draw(random_genotype(random.Random(3), 5)))}
    assert texts & {describe(name) for name in legal_operations("normal", 3)}


# The package


def test_every_module_imports_only_those_named_before_it():
    folder = Path(drawing.__file__).parent
    order = re.findall(r"``(\w+)``", drawing.__doc__)
    assert sorted(order) == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    for place, name in enumerate(order):
        tree = ast.parse((folder / f"{name}.py").read_text())
        used = {
            node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1
        }
        assert used <= set(order[:place]), name
