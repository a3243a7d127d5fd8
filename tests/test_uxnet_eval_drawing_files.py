"""The drawing of architectures: the files it writes, and what it says when it cannot."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
from drawings import strokes, texts_of
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from search_runs import made_up_record
from typer.testing import CliRunner

from search_space import presets
from search_space.errors import UserError
from search_space.grid import Edge, Grid, Layer, Node
from uxnet_eval import cli
from uxnet_eval.drawing import (
    draw,
    draw_genotype_file,
    draw_search,
    draw_search_folder,
    label_boxes,
    pixels,
    save,
)
from uxnet_eval.drawing.painter import PRUNED


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

    def fail(stream, **_):
        stream.write(b"half")
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
