"""Controls of a searched genotype: edges and operations as said, random ones live and repeatable."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest

from search_space import Genotype, presets
from search_space.errors import UserError
from search_space.grid import Edge, Grid
from search_space.operations import default_candidates
from uxnet_eval.architectures.architecture import check_architecture, find_architecture
from uxnet_eval.architectures.controls import control_genotype, random_genotype
from uxnet_eval.config.training import TrainConfig

# On the grid of 3 levels: N0.0 straight through stage 1 to the output; the other levels are pruned.
EDGES = ("N0.0-N1.0", "N1.0-N2.0")
OPERATIONS = {"N0.0": "conv5", "N1.0": "pseudo3d", "N2.0": "conv3_rate2"}
PREFERRED = "interpolate", "avg_pool", "conv3x3x1"
"""By weight in the provenance, of the expansions, reductions and the normal layers that were pruned."""


def searched(**provenance) -> Genotype:
    """Three nodes in a row, whose provenance has weights for every layer of the grid."""
    grid = Grid(3)
    alphas = {
        str(layer): {name: 0.9 if name in PREFERRED else 0.1 for name in default_candidates(layer.kind, 3)}
        for layer in grid.layers
    }
    operations = {layer: OPERATIONS.get(str(layer.node), "conv3") for layer in grid.layers}
    operations = {layer: name for layer, name in operations.items() if layer.kind == "normal"}
    provenance = {"alphas": alphas, "space": {}} | provenance
    return Genotype.from_choices(3, map(Edge.parse, EDGES), operations, provenance)


def by_name(genotype: Genotype) -> dict[str, str]:
    return {str(layer): name for layer, name in genotype.operations.items()}


def test_all_edges_have_the_operations_that_the_search_prefers() -> None:
    genotype = control_genotype("all-edges", searched(), 3)
    assert genotype.edges == Grid(3).edges
    assert by_name(genotype) == {
        "N0.0/normal": "conv5",
        "N0.1/reduction": "avg_pool",
        "N0.1/normal": "conv3x3x1",
        "N0.2/reduction": "avg_pool",
        "N0.2/normal": "conv3x3x1",
        "N1.0/expansion": "interpolate",
        "N1.0/normal": "pseudo3d",
        "N1.1/expansion": "interpolate",
        "N1.1/normal": "conv3x3x1",
        "N2.0/expansion": "interpolate",
        "N2.0/normal": "conv3_rate2",
    }


def test_searched_edges_have_the_operations_of_the_unet() -> None:
    genotype = control_genotype("searched-edges", searched(), 3)
    assert tuple(map(str, genotype.edges)) == EDGES
    assert by_name(genotype) == dict.fromkeys(("N0.0/normal", "N1.0/normal", "N2.0/normal"), "2xconv3")


def test_searched_operations_stand_on_the_edges_of_the_unet() -> None:
    genotype, unet = control_genotype("searched-operations", searched(), 3), presets.get("unet", 3)
    assert genotype.edges == unet.edges
    names = by_name(genotype)
    assert names["N1.0/normal"] == "identity"  # it only hands the skip on
    assert names["N0.0/normal"] == "conv5" and names["N2.0/normal"] == "conv3_rate2"
    assert names["N1.1/normal"] == "conv3x3x1" and names["N2.0/expansion"] == "interpolate"


def test_layers_that_the_genotype_says_nothing_about_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        genotype = control_genotype("all-edges", searched(alphas={}), 3)
    assert by_name(genotype)["N0.1/normal"] == "2xconv3" and by_name(genotype)["N0.0/normal"] == "conv5"
    assert "does not say what was found for N0.1/reduction, N0.1/normal" in caplog.text


def test_a_search_on_the_edges_of_the_unet(caplog: pytest.LogCaptureFixture) -> None:
    unet = presets.get("unet", 3)
    with caplog.at_level(logging.WARNING):
        assert control_genotype("searched-operations", unet, 3) == unet
    assert not caplog.text  # it has an operation for every layer that these edges need
    with caplog.at_level(logging.WARNING):
        assert control_genotype("all-edges", unet, 3) == presets.get("full", 3)
    assert "N1.0/expansion, N1.0/normal; the U-Net's operation is taken" in caplog.text


def test_random_genotypes_are_live_of_the_same_size_and_repeatable() -> None:
    unet = presets.get("unet", 4)
    drawn = [random_genotype(unet, seed, 3) for seed in range(30)]  # a dead edge would be refused
    assert {len(genotype.edges) for genotype in drawn} == {len(unet.edges)}
    assert drawn == [random_genotype(unet, seed, 3) for seed in range(30)]
    assert len({(genotype.edges, tuple(by_name(genotype).items())) for genotype in drawn}) == 30


def test_random_operations_are_drawn_evenly_from_the_candidates_that_were_searched() -> None:
    space = {"normal_candidates": ["conv3", "conv5"]}
    drawn = [random_genotype(searched(space=space), seed, 3) for seed in range(200)]
    counts = Counter(by_name(genotype)["N0.0/normal"] for genotype in drawn)
    assert set(counts) == {"conv3", "conv5"} and 70 <= counts["conv3"] <= 130  # 4 standard deviations


def test_random_genotypes_vary_what_the_search_varied_alone() -> None:
    edges_fixed = random_genotype(searched(space={"search_edges": False}), 0, 3)
    assert edges_fixed.edges == presets.get("unet", 3).edges
    assert by_name(edges_fixed)["N1.0/normal"] == "identity"
    blocks_fixed = random_genotype(searched(space={"search_blocks": False}), 0, 3)
    assert set(by_name(blocks_fixed).values()) <= {"2xconv3", "max_pool", "transposed_conv"}


def test_in_2d_no_3d_operation_is_drawn() -> None:
    legal = {name for kind in ("normal", "reduction", "expansion") for name in default_candidates(kind, 2)}
    for seed in range(10):
        assert set(by_name(random_genotype(presets.get("full", 4), seed, 2)).values()) <= legal


def test_controls_by_name(tmp_path: Path) -> None:
    searched().save(tmp_path / "g.json")
    found = find_architecture("searched", 3, tmp_path, searched="g.json")
    assert found.name == "searched" and found.genotype == searched()
    random = find_architecture("random:7", 3, tmp_path, searched="g.json").genotype
    assert random == random_genotype(searched(), 7, 3)
    with pytest.raises(UserError, match=r"'all-edges' is made from a searched genotype; set genotype"):
        find_architecture("all-edges", 3, tmp_path)
    with pytest.raises(UserError, match=r"none\.json: cannot be read"):
        find_architecture("searched", 3, tmp_path, searched="none.json")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("random:one", r"'random:one': expected random: and a seed, such as random:0"),
        ("random:-1", r"'random:-1': expected random: and a seed"),
        ("all-edge", r"did you mean 'all-edges'"),
    ],
)
def test_unknown_controls(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_architecture(name)


def test_a_configuration_names_the_genotype_once(tmp_path: Path) -> None:
    searched().save(tmp_path / "g.json")
    (tmp_path / "data").mkdir()
    config = TrainConfig(
        dataset="data",
        plan={
            "spacing_mm": (1, 1, 1),
            "patch_size": (16, 16, 16),
            "strides": ((2, 2, 2), (2, 2, 2)),
            "batch_size": 1,
        },
        network={"architecture": "searched", "genotype": "g.json"},
    )
    for name in ("searched", "all-edges", "random:3"):
        config.override({"architecture": name}).check_files(beside=tmp_path)
    with pytest.raises(UserError, match=r"other\.json: cannot be read"):
        config.override({"genotype": "other.json"}).check_files(beside=tmp_path)
