"""Controls of a genotype of the extended space: they stay in that space, widths and all."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest

from search_space import Genotype, presets
from search_space.errors import UserError
from search_space.grid import Edge, Grid
from search_space.presets import unet_edges
from uxnet_eval.architectures.architecture import check_architecture, find_architecture
from uxnet_eval.architectures.controls import control_genotype, random_genotype

FACTORS = (0.5, 1.0, 2.0)
SPACE = {
    "width_choices": list(FACTORS),
    "anchored_edges": True,
    "edge_scale": True,
    "pass_through": True,
    "normal_candidates": ["conv3", "2xconv3"],
}
FURTHER = Edge.parse("N0.0-N0.2"), Edge.parse("N0.2-N1.0")


def searched(**space) -> Genotype:
    """The U-Net's edges and two more; conv3 everywhere, but identity in the pass-through node N1.0."""
    unet = presets.get("unet", 3)
    operations = {
        layer: "conv3" if layer.kind == "normal" else name for layer, name in unet.operations.items()
    }
    operations |= {layer: "identity" for layer in operations if str(layer) == "N1.0/normal"}
    operations |= {layer: "interpolate" for layer in Grid(3).layers if str(layer) == "N1.0/expansion"}
    return Genotype.from_choices(
        3,
        [*unet.edges, *FURTHER],
        operations,
        {"space": {**SPACE, **space}},
        widths=(1, 2, 0.5),
        edge_scale=True,
    )


def named(genotype: Genotype, kind: str) -> dict[str, str]:
    return {str(layer.node): name for layer, name in genotype.operations.items() if layer.kind == kind}


@pytest.mark.parametrize("name", ["all-edges", "searched-edges", "searched-operations"])
def test_controls_keep_widths_and_the_scale_of_edges(name: str) -> None:
    control = control_genotype(name, searched(), 3)
    assert control.widths == (1, 2, 0.5)
    assert control.edge_scale


def test_unet_operations_on_the_searched_edges_pass_through_where_the_search_does() -> None:
    control = control_genotype("searched-edges", searched(), 3)
    assert set(control.edges) == unet_edges(3) | set(FURTHER)
    assert named(control, "normal") == {
        "N0.0": "2xconv3",
        "N0.1": "2xconv3",
        "N0.2": "2xconv3",
        "N1.0": "identity",
        "N1.1": "2xconv3",
        "N2.0": "2xconv3",
    }
    assert set(named(control, "expansion").values()) == {"transposed_conv"}


def test_all_edges_keep_an_identity_that_was_chosen(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        control = control_genotype("all-edges", searched(), 3)
    assert control.edges == Grid(3).edges
    assert named(control, "normal")["N1.0"] == "identity"
    assert not caplog.text  # the genotype has an operation for every layer


def test_an_unknown_pass_through_node_passes_through_as_in_the_unet() -> None:
    """On 4 levels, N1.0 carries nothing in this genotype; all edges need an operation there."""
    unet = presets.get("unet", 4)
    edges = [Edge.parse(name) for name in ("N0.0-N0.1", "N0.1-N1.1", "N1.1-N2.1", "N2.1-N3.0")]
    chain = Genotype.from_choices(
        4,
        edges,
        {layer: name if name != "identity" else "conv3" for layer, name in unet.operations.items()},
        {"space": {"pass_through": True}},
    )
    assert named(control_genotype("all-edges", chain, 3), "normal") == {
        "N0.0": "2xconv3",
        "N0.1": "2xconv3",
        "N0.2": "2xconv3",  # the U-Net's
        "N0.3": "2xconv3",
        "N1.0": "identity",  # the U-Net's
        "N1.1": "conv3",  # the searched one
        "N1.2": "2xconv3",
        "N2.0": "identity",
        "N2.1": "2xconv3",
        "N3.0": "2xconv3",
    }


def test_random_genotypes_draw_from_the_whole_space() -> None:
    drawn = [random_genotype(searched(), seed, 3) for seed in range(300)]
    assert drawn == [random_genotype(searched(), seed, 3) for seed in range(300)]
    assert {len(genotype.edges) for genotype in drawn} == {len(unet_edges(3)) + 2}
    assert all(unet_edges(3) <= set(genotype.edges) for genotype in drawn)
    assert all(genotype.edge_scale for genotype in drawn)
    for level in range(3):
        counts = Counter(genotype.widths[level] for genotype in drawn if genotype.widths)
        assert set(counts) == set(FACTORS)
        assert min(counts.values()) >= 67  # of 300 in 3: 4 standard deviations below 100
    passing = Counter(named(genotype, "normal")["N1.0"] for genotype in drawn)
    assert set(passing) == {"conv3", "2xconv3", "identity"} and min(passing.values()) >= 67
    others = {
        name for genotype in drawn for node, name in named(genotype, "normal").items() if node != "N1.0"
    }
    assert others == {"conv3", "2xconv3"}


def test_random_genotypes_on_fixed_edges_draw_widths_and_operations() -> None:
    unet = presets.get("unet", 3)
    fixed = Genotype.from_choices(
        3,
        unet.edges,
        unet.operations,
        {"space": {**SPACE, "search_edges": False}},
        widths=(1, 1, 2),
        edge_scale=True,
    )
    drawn = [random_genotype(fixed, seed, 3) for seed in range(20)]
    assert {genotype.edges for genotype in drawn} == {unet.edges}
    assert {named(genotype, "normal")["N1.0"] for genotype in drawn} == {"identity"}
    assert len({genotype.widths for genotype in drawn}) > 10


def test_widths_that_were_not_searched_stay() -> None:
    drawn = random_genotype(searched(width_choices=[1.0]), 0, 3)
    assert drawn.widths == (1, 2, 0.5)


def test_unet_with_random_widths() -> None:
    unet = presets.get("unet", 3)
    assert control_genotype("unet-widths:0", searched(), 3) == unet
    drawn = [control_genotype(f"unet-widths:{seed}", searched(), 3) for seed in range(1, 301)]
    assert drawn[6] == control_genotype("unet-widths:7", searched(), 3)
    for genotype in drawn:
        assert (genotype.edges, genotype.operations) == (unet.edges, unet.operations)
        assert not genotype.edge_scale
    for level in range(3):
        counts = Counter(genotype.widths[level] for genotype in drawn if genotype.widths)
        assert set(counts) == set(FACTORS) and min(counts.values()) >= 67


def test_unet_has_no_widths_to_draw_where_none_were_searched() -> None:
    plain = searched(width_choices=[1.0])
    assert control_genotype("unet-widths:0", plain, 3) == presets.get("unet", 3)
    with pytest.raises(
        UserError, match=r"'unet-widths:2': the searched genotype's space has no width_choices"
    ):
        control_genotype("unet-widths:2", plain, 3)


def test_names_of_drawn_controls(tmp_path: Path) -> None:
    searched().save(tmp_path / "g.json")
    found = find_architecture("unet-widths:3", 3, tmp_path, searched="g.json")
    assert found.genotype == control_genotype("unet-widths:3", searched(), 3)
    with pytest.raises(
        UserError, match=r"'unet-widths:x': expected unet-widths: and a seed, such as unet-widths:0"
    ):
        check_architecture("unet-widths:x")
    with pytest.raises(UserError, match=r"'unet-widths:1' is made from a searched genotype"):
        find_architecture("unet-widths:1", 3, tmp_path)


def test_a_damaged_provenance_is_named() -> None:
    with pytest.raises(UserError, match=r"provenance: space: .*'conv33'"):
        random_genotype(searched(normal_candidates=["conv33"]), 0, 3)
