"""The parts of a found network, each with all else from the U-Net."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

from benchmarks.found_parts import parts
from search_space import Genotype, SearchSpaceConfig, presets
from search_space.presets import unet_edges
from strategies.single_path.sampling import Sampler
from uxnet_eval.runs.files import write_json

SPACE = SearchSpaceConfig(
    levels=4,
    base_channels=4,
    width_choices=(0.5, 1.0, 1.5),
    anchored_edges=True,
    edge_scale=True,
    pass_through=True,
)


def test_each_part_comes_from_the_found_network_and_all_else_from_the_unet() -> None:
    unet = presets.get("unet", 4)
    for seed in range(20):
        found = Sampler(SPACE).draw(Random(seed))
        each = parts(found)
        assert {genotype.widths for genotype in each.values()} == {found.widths}
        assert each["widths"].operations == unet.operations
        assert each["widths"].edges == each["operations"].edges == unet.edges
        assert not each["widths"].edge_scale and not each["operations"].edge_scale
        assert each["edges"].edges == found.edges and each["edges"].edge_scale
        for layer, name in each["edges"].operations.items():
            assert name == unet.operations.get(layer, name)
        taken = {layer for layer in each["operations"].operations if layer in found.operations}
        passed = {layer for layer, name in unet.operations.items() if name == "identity"}
        assert len(taken - passed) > 10
        for layer in taken - passed:
            assert each["operations"].operations[layer] == found.operations[layer]


def test_the_command_reads_a_contest(tmp_path: Path) -> None:
    found = Sampler(SPACE).draw(Random(0))
    found.save(tmp_path / "found.json")
    write_json(tmp_path / "result.json", {"architecture": "found.json"})
    command = [sys.executable, "-m", "benchmarks.found_parts", str(tmp_path), "-o", str(tmp_path / "parts")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert [Path(line).name for line in shown.stdout.split()] == [
        "widths.json",
        "operations.json",
        "edges.json",
    ]
    for line in shown.stdout.split():
        assert Genotype.load(line) == parts(found)[Path(line).stem]
    assert set(found.edges) > unet_edges(4)
