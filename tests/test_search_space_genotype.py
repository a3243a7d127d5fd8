"""Genotypes: what is valid, JSON both ways, and one clear line for every fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import search_space.genotype
from search_space import Genotype, SearchSpaceConfig, UserError, UXNet, presets
from search_space.genotype import parse_layer
from search_space.grid import Edge, Grid, Layer, Node

# N0.0 ---------> N1.0 -> N2.0     over three levels; only N1.0 takes a coarser level (N0.1), so that N2.0 has no
#    \-> N0.1 --/                  expansion layer.
EDGES = ["N0.0-N0.1", "N0.0-N1.0", "N0.1-N1.0", "N1.0-N2.0"]
OPERATIONS = {
    "N0.0/normal": "conv5",
    "N0.1/reduction": "avg_pool",
    "N0.1/normal": "pseudo3d",
    "N1.0/expansion": "interpolate",
    "N1.0/normal": "2xconv3",
    "N2.0/normal": "conv3_rate2",
}


def values(**changes: Any) -> dict[str, Any]:
    """The JSON of a valid genotype, with ``changes``."""
    return {
        "format": "uxnet-genotype",
        "version": 1,
        "levels": 3,
        "edges": list(EDGES),
        "operations": dict(OPERATIONS),
        "provenance": {"seed": 3},
    } | changes


def operations(**changes: str | None) -> dict[str, str]:
    """``OPERATIONS`` with ``N1_0__normal="conv3"`` for ``N1.0/normal``; None leaves the layer out."""
    renamed = {name.replace("__", "/").replace("_", "."): value for name, value in changes.items()}
    return {name: value for name, value in (OPERATIONS | renamed).items() if value is not None}


def test_what_the_json_says_is_what_is_read() -> None:
    genotype = Genotype.from_dict(values())
    assert genotype.levels == 3
    assert [str(edge) for edge in genotype.edges] == EDGES
    assert {str(layer): name for layer, name in genotype.operations.items()} == OPERATIONS
    assert [str(node) for node in genotype.nodes] == ["N0.0", "N0.1", "N1.0", "N2.0"]
    assert genotype.provenance == {"seed": 3}


def test_dictionary_round_trip_is_exact() -> None:
    assert Genotype.from_dict(values()).to_dict() == values()


def test_equal_genotypes_have_one_hash_whatever_their_provenance() -> None:
    first, second = Genotype.from_dict(values()), Genotype.from_dict(values(provenance={"seed": 4}))
    other = Genotype.from_dict(values(operations=operations(N1_0__normal="conv3")))
    assert first == second and first != other and first != "a genotype"
    assert len({first, second, other}) == 2


def test_a_genotype_does_not_change() -> None:
    genotype = Genotype.from_dict(values())
    with pytest.raises(ValueError, match="frozen"):
        genotype.levels = 4  # type: ignore[misc]


def test_a_file_of_an_older_version_is_upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(old: dict[str, Any]) -> dict[str, Any]:
        return {("edges" if key == "kept" else key): value for key, value in old.items()}

    older = {("kept" if key == "edges" else key): value for key, value in values(version=0).items()}
    monkeypatch.setitem(search_space.genotype.UPGRADES, 0, rename)
    assert Genotype.from_dict(older).to_dict() == values()
    with pytest.raises(UserError, match=r"genotype version 3, this program reads 0, 1, 2; export it again"):
        Genotype.from_dict(values(version=3))


def test_order_in_the_file_does_not_matter() -> None:
    shuffled = values(edges=EDGES[::-1], operations=dict(reversed(OPERATIONS.items())))
    genotype = Genotype.from_dict(shuffled)
    assert genotype == Genotype.from_dict(values())
    assert list(genotype.to_dict()["operations"]) == list(OPERATIONS)


def test_file_round_trip(tmp_path: Path) -> None:
    genotype = Genotype.from_dict(values())
    genotype.save(tmp_path / "genotype.json")
    loaded = Genotype.load(tmp_path / "genotype.json")
    assert loaded == genotype
    assert loaded.provenance == {"seed": 3}  # equality leaves it out
    assert [path.name for path in tmp_path.iterdir()] == ["genotype.json"]
    assert json.loads((tmp_path / "genotype.json").read_text())["version"] == 1


@pytest.mark.parametrize("name", presets.names())
@pytest.mark.parametrize("levels", [2, 3, 5])
def test_every_preset_survives_json(name: str, levels: int) -> None:
    genotype = presets.get(name, levels)
    assert Genotype.from_dict(json.loads(json.dumps(genotype.to_dict()))) == genotype


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "genotype.json"
    Genotype.from_dict(values()).save(path)
    with pytest.raises(TypeError, match="not JSON serializable"):
        Genotype.from_dict(values(provenance={"what": object()})).save(path)
    assert Genotype.load(path).provenance == {"seed": 3}
    assert [entry.name for entry in tmp_path.iterdir()] == ["genotype.json"]


FAULTS = [
    (values(format="onnx"), r'g\.json: not a genotype \(its "format" is not "uxnet-genotype"\)'),
    ([1, 2], r'g\.json: not a genotype \(its "format"'),
    (values(version=3), r"g\.json: genotype version 3, this program reads 1, 2; export it again"),
    (values(version=[1]), r"g\.json: genotype version \[1\], this program reads 1, 2"),
    (values(version="1"), r"g\.json: genotype version '1', this program reads 1, 2"),
    (values(edgs=[]), r"g\.json: unknown key 'edgs' \(did you mean 'edges'\?\)"),
    ({k: v for k, v in values().items() if k != "levels"}, r"g\.json: key 'levels' is missing"),
    (values(levels="3"), r"g\.json: expected levels \(integer\), edges \(list\) and operations \(object\)"),
    (values(levels=True), r"g\.json: expected levels \(integer\)"),
    (values(levels=1), r"g\.json: levels = 1: the grid needs at least 2"),
    (values(edges={}), r"g\.json: expected levels \(integer\), edges \(list\)"),
    (values(operations=[]), r"g\.json: expected levels .* operations \(object\)"),
    (values(operations=OPERATIONS | {"N1.0/normal": 3}), r"g\.json: operations\.N1\.0/normal: Input should be a valid str"),
    (values(provenance="mine"), r"g\.json: provenance must be an object"),
    (values(edges=["N0.0"]), r"g\.json: 'N0\.0' is not an edge"),
    (values(edges=["x-y"]), r"g\.json: 'x' is not a node; expected a name such as N1\.0"),
    (values(edges=[*EDGES, "N0.3-N1.0"]), r"g\.json: genotype: N0\.3-N1\.0 is not an edge of a grid with 3 levels"),
    (values(edges=[*EDGES, "N1.0-N0.1"]), r"g\.json: genotype: N1\.0-N0\.1 is not an edge of a grid"),
    (values(edges=EDGES[:3]), r"g\.json: genotype: no path of edges leads from N0\.0 to N2\.0"),
    (values(edges=[]), r"g\.json: genotype: no path of edges leads from N0\.0 to N2\.0"),
    (values(edges=[*EDGES, "N0.1-N0.2"]), r"g\.json: genotype: dead edges N0\.1-N0\.2: not between the input and"),
    (values(operations=operations(N1_0__normal=None)), r"g\.json: genotype: layer N1\.0/normal has no operation"),
    (
        values(operations=operations(N2_0__expansion="interpolate")),
        r"g\.json: genotype: layer N2\.0/expansion is not part of the live network; remove it",
    ),
    (values(operations=OPERATIONS | {"N1.0/pool": "conv3"}), r"g\.json: 'N1\.0/pool' is not a layer; expected a name"),
    (values(operations=OPERATIONS | {"N1.0": "conv3"}), r"g\.json: 'N1\.0' is not a layer"),
    (
        values(operations=operations(N1_0__normal="conv7")),
        r"g\.json: genotype: layer N1\.0/normal: 'conv7' is not a normal operation in 3-D \(did you mean 'conv",
    ),
    (
        values(operations=operations(N1_0__normal="max_pool")),
        r"genotype: layer N1\.0/normal: 'max_pool' is not a normal operation in 3-D",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("faulty", "message"), FAULTS)
def test_every_fault_has_its_line(faulty: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Genotype.from_dict(faulty, source="g.json")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.json: cannot be read \(No such file or directory\)"):
        Genotype.load(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text('{"format": "uxnet-genotype", ')
    with pytest.raises(UserError, match=r"broken\.json: not JSON: .*; export the genotype again"):
        Genotype.load(tmp_path / "broken.json")
    (tmp_path / "binary.json").write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(UserError, match=r"binary\.json: not UTF-8"):
        Genotype.load(tmp_path / "binary.json")


def test_from_choices_leaves_out_what_is_dead() -> None:
    grid = Grid(3)
    everything = {layer: "interpolate" if layer.kind == "expansion" else "conv3" for layer in grid.layers}
    everything |= {layer: "max_pool" for layer in grid.layers if layer.kind == "reduction"}
    choices = [*EDGES, "N0.1-N0.2", "N0.0-N1.1"]  # N0.2 and N1.1 lead nowhere
    genotype = Genotype.from_choices(3, [Edge.parse(name) for name in choices], everything)
    assert [str(edge) for edge in genotype.edges] == EDGES
    assert sorted(map(str, genotype.operations)) == sorted(OPERATIONS)


def test_from_choices_refuses_a_network_that_is_cut_off() -> None:
    with pytest.raises(UserError, match=r"no path of edges leads from N0\.0 to N2\.0"):
        Genotype.from_choices(3, [Edge.parse("N0.0-N1.0")], {})


def test_a_genotype_of_another_number_of_levels() -> None:
    config = SearchSpaceConfig(levels=4, base_channels=2)
    with pytest.raises(
        UserError, match="genotype has 3 levels, the configuration 4; give strides for the same"
    ):
        UXNet(config, Genotype.from_dict(values()))


def test_a_3d_operation_in_a_2d_network() -> None:
    config = SearchSpaceConfig(spatial_dims=2, levels=3, base_channels=2)
    with pytest.raises(UserError, match=r"layer N0\.1/normal: 'pseudo3d' is not a normal operation in 2-D"):
        UXNet(config, Genotype.from_dict(values()))


def test_an_identity_where_the_channels_change() -> None:
    config = SearchSpaceConfig(levels=3, base_channels=2, in_channels=1)
    genotype = Genotype.from_dict(values(operations=operations(N0_0__normal="identity")))
    with pytest.raises(UserError, match=r"layer N0\.0/normal: identity cannot turn 1 channels into 2"):
        UXNet(config, genotype)


def test_parse_layer() -> None:
    assert parse_layer("N1.0/normal") == Layer(Node(1, 0), "normal")
    with pytest.raises(
        UserError, match=r"expected a name such as N1\.0/normal \(kinds: normal, reduction, expansion\)"
    ):
        parse_layer("N1.0/Normal")
