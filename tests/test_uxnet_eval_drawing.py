"""The drawing of architectures: what it shows, that it can be read, and how it is written."""

import ast
import json
import random
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from matplotlib.patches import PathPatch
from matplotlib.text import Text
from search_runs import made_up_record
from typer.testing import CliRunner

from search_space import presets
from search_space.errors import UserError
from search_space.genotype import Genotype
from search_space.grid import Edge, Grid, Layer, Node
from search_space.operations import default_candidates, describe, legal_operations
from uxnet_eval import cli, drawing
from uxnet_eval.drawing import (
    draw,
    draw_genotype_file,
    draw_search,
    draw_search_folder,
    label_boxes,
    pixels,
    save,
)
from uxnet_eval.drawing.layout import Layout
from uxnet_eval.drawing.painter import KEPT, PRUNED, edge_style


def random_genotype(rng, levels, spatial_dims=3):
    """Random edges, from sparse to nearly all, and random operations."""
    grid, share = Grid(levels), rng.uniform(0.2, 0.95)
    while True:
        edges = [edge for edge in grid.edges if rng.random() < share]
        operations = {layer: rng.choice(legal_operations(layer.kind, spatial_dims)) for layer in grid.layers}
        try:
            return Genotype.from_choices(levels, edges, operations)
        except UserError:  # the output is cut off
            continue


def random_state(rng, levels, spatial_dims=3):
    """Random gates and alphas of a supernet."""
    grid = Grid(levels)
    gates = {edge: rng.random() for edge in grid.edges}
    alphas = {}
    for layer in grid.layers:
        names = default_candidates(layer.kind, spatial_dims)
        weights = [rng.random() ** 4 for _ in names]
        alphas[layer] = {name: weight / sum(weights) for name, weight in zip(names, weights, strict=True)}
    return grid, gates, alphas


def faults(figure):
    """The labels that leave their frame, and the pairs that overlap."""
    boxes = label_boxes(figure)
    found = [
        box.text
        for box in boxes
        if not (box.frame[0] <= box.x0 and box.frame[1] <= box.y0 and box.x1 <= box.frame[2] and box.y1 <= box.frame[3])
    ]  # fmt: skip
    x0, y0, x1, y1 = (np.array([box[k] for box in boxes]) for k in (1, 2, 3, 4))
    apart = (x1[:, None] <= x0) | (x1 <= x0[:, None]) | (y1[:, None] <= y0) | (y1 <= y0[:, None])
    pairs = np.argwhere(np.triu(~apart, 1))
    return found + [(boxes[a].text, boxes[b].text) for a, b in pairs]


def texts_of(figure, node):
    """The texts on a node's card, without its name, and their colours."""
    texts = [a for a in figure.artists if isinstance(a, Text) and a.get_label() == f"card:{node}"]
    return {text.get_text(): text.get_color() for text in texts if text.get_text() != str(node)}


def strokes(figure):
    """The drawn curve of every edge, by the edge's name."""
    return {a.get_gid(): a for a in figure.artists if isinstance(a, PathPatch) and a.get_gid()}


def chain(levels=3):
    """N0.0 to N0.1 to N1.0 to N2.0, for three levels."""
    names = ("N0.0-N0.1", "N0.1-N1.0", "N1.0-N2.0")
    return [Edge.parse(name) for name in names]


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


# Meaning


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


# Files


@pytest.mark.parametrize("suffix", [".png", ".svg", ".SVG"])
def test_the_same_drawing_gives_the_same_bytes(tmp_path, suffix):
    for name in ("a", "b"):
        save(draw(presets.unet(3), title="same"), tmp_path / f"{name}{suffix}")
    first = (tmp_path / f"a{suffix}").read_bytes()
    assert first == (tmp_path / f"b{suffix}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}"]
    assert b"<dc:date>" not in first and b"atplotlib" not in first


def test_svg_groups_are_named_after_edges_and_nodes(tmp_path):
    save(draw(presets.unet(4)), tmp_path / "net.svg")
    ids = [element.get("id") for element in ElementTree.parse(tmp_path / "net.svg").iter()]
    grid = Grid(4)
    for name in [*grid.edges, *grid.nodes]:
        assert ids.count(str(name)) == 1


def test_png_has_the_size_asked_for(tmp_path):
    figure = draw(presets.unet(2), figsize=(5, 3), dpi=80)
    save(figure, tmp_path / "net.png")
    assert imread(tmp_path / "net.png").shape[:2] == pixels(figure).shape[:2] == (240, 400)


def test_drawing_leaves_no_pyplot_figure():
    import matplotlib.pyplot as plt

    draw(presets.unet(2))
    assert plt.get_fignums() == []


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.png"
    path.write_bytes(b"old")
    figure = draw(presets.unet(2))

    def fail(part, **_):
        part.write_bytes(b"half")
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(RuntimeError, match="disk on fire"):
        save(figure, path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_genotype_file_is_drawn(tmp_path):
    presets.unet(3).save(tmp_path / "mine.json")
    draw_genotype_file(tmp_path / "mine.json", tmp_path / "mine.svg")
    assert (tmp_path / "mine.svg").stat().st_size > 10_000
    draw_genotype_file(tmp_path / "mine.json", tmp_path / "other.svg", title="other")
    assert (tmp_path / "mine.svg").read_bytes() != (tmp_path / "other.svg").read_bytes()


# Searches


def test_a_search_is_drawn_at_any_of_its_validations(tmp_path):
    record = made_up_record(levels=3, num_epochs=3)
    record.history[-1]["gates"] = dict.fromkeys(record.gates, 0.9)
    first, last = draw_search(record, epoch=1), draw_search(record)
    weak = [curve for curve in strokes(first).values() if curve.get_linestyle() in ("-", "solid")]
    assert weak and {to_rgb(curve.get_edgecolor()) for curve in weak} == {PRUNED(0.5 / 0.75)[:3]}
    assert {curve.get_linewidth() for name, curve in strokes(last).items() if "-" in name} == {
        0.6 + 3.0 * 0.9
    }
    assert "epoch 3" in [box.text for box in label_boxes(last)]
    record.save(tmp_path)
    draw_search_folder(tmp_path, tmp_path / "a.png")
    draw_search_folder(tmp_path, tmp_path / "b.png", prune_threshold=0.01)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
    with pytest.raises(UserError, match=r"epoch 9; choose one of 1, 2, 3"):
        draw_search(record, epoch=9)
    with pytest.raises(UserError, match=r"c\.gif.*\.png or \.svg"):
        draw_search_folder(tmp_path, tmp_path / "c.gif")
    record.history = []
    with pytest.raises(UserError, match="has not validated yet"):
        draw_search(record)


def test_the_command_draws_genotypes_and_searches(tmp_path):
    made_up_record().save(tmp_path)
    presets.unet(3).save(tmp_path / "g.json")

    def uxnet_draw(*arguments):
        return CliRunner().invoke(cli.app, ["draw", *map(str, arguments)], catch_exceptions=False)

    picture = tmp_path / "a.svg"
    assert uxnet_draw(tmp_path, "-o", picture, "--epoch", 2, "--prune-threshold", 0.6).exit_code == 0
    searched = picture.read_bytes()
    assert uxnet_draw(tmp_path / "g.json", "-o", picture).exit_code == 0
    assert picture.read_bytes() != searched
    with pytest.raises(UserError, match=r"g\.json.*this is a genotype"):
        uxnet_draw(tmp_path / "g.json", "-o", picture, "--epoch", 2)
    with pytest.raises(UserError, match="leave --dims out"):
        uxnet_draw(tmp_path, "-o", picture, "--dims", 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty.search\.json: cannot be read"):
        uxnet_draw(tmp_path / "empty", "-o", picture)


def test_edges_and_operations_that_were_not_searched_are_drawn_as_fixed():
    record = made_up_record(levels=3)
    for entry in record.history:
        entry["gates"].pop("N0.0-N0.1")
        entry["alphas"].pop("N0.0/normal")
    record.fixed_edges, record.fixed_operations = ["N0.0-N0.1"], {"N0.0/normal": "conv5"}
    figure = draw_search(record, prune_threshold=1.0)
    assert strokes(figure)["N0.0-N0.1"].get_linewidth() > 2
    assert list(texts_of(figure, Node(0, 0))) == ["5x5x5", "1.00"]


# Errors


def test_files_that_cannot_be_written_are_named(tmp_path):
    figure = draw(presets.unet(2))
    with pytest.raises(UserError, match=r"net\.jpg.*\.png or \.svg"):
        save(figure, tmp_path / "net.jpg")
    with pytest.raises(UserError, match=r"net\.png: cannot be written"):
        save(figure, tmp_path / "nowhere" / "net.png")
    with pytest.raises(UserError, match=r"net\.pdf.*\.png or \.svg"):
        draw_genotype_file(tmp_path / "missing.json", tmp_path / "net.pdf")
    with pytest.raises(UserError, match=r"missing\.json"):
        draw_genotype_file(tmp_path / "missing.json", tmp_path / "net.png")
    (tmp_path / "half.json").write_text(json.dumps(presets.unet(3).to_dict())[:100])
    with pytest.raises(UserError, match=r"half\.json: not JSON"):
        draw_genotype_file(tmp_path / "half.json", tmp_path / "net.png")
    assert [path.name for path in tmp_path.iterdir()] == ["half.json"]


GRID = Grid(3)
FULL = dict.fromkeys(GRID.edges, 0.5)
LAYER = Layer(Node(0, 0), "normal")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give a genotype or a grid"),
        ({"genotype": presets.unet(3), "grid": Grid(4)}, "3 levels, the grid 4"),
        ({"grid": GRID, "gates": {GRID.edges[0]: 0.5}}, "10 of 11 edges have no gate"),
        (
            {"grid": GRID, "gates": FULL | {Edge.parse("N0.3-N1.0"): 0.5}},
            "N0.3-N1.0 has a gate but is no edge",
        ),
        ({"grid": GRID, "gates": FULL | {GRID.edges[2]: 1.5}}, "gate of .* is 1.5"),
        ({"grid": GRID, "gates": FULL | {GRID.edges[2]: float("nan")}}, "gate of .* is nan"),
        ({"grid": GRID, "alphas": {LAYER: {"conv33": 1.0}}}, "did you mean 'conv3'"),
        ({"grid": GRID, "alphas": {LAYER: {}}}, "alphas of no operation"),
        ({"grid": GRID, "alphas": {LAYER: {"conv3": float("nan")}}}, "is nan; expected 0..1"),
        (
            {"grid": GRID, "alphas": {Layer(Node(3, 0), "normal"): {"conv3": 1.0}}},
            "is no layer of a grid with 3",
        ),
        ({"grid": GRID, "spatial_dims": 4}, "expected 2 or 3"),
        ({"grid": GRID, "prune_threshold": 1.2}, "expected a number in 0..1"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(arguments, message):
    with pytest.raises(UserError, match=message) as error:
        draw(**arguments)
    assert "\n" not in str(error.value)


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
