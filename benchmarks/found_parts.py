"""Which part of a found network pays? ``python -m benchmarks.found_parts --help``.

Writes genotypes that take one part from the found network of a contest, and all else from the
U-Net: ``widths.json`` (its widths), ``operations.json`` (its widths and operations) and
``edges.json`` (its widths and edges, with their scales). Train each like the found network:

    uxnet train --config RUN/final.run.yml --architecture widths.json --output widths --set label=widths
"""

from __future__ import annotations

import argparse
from pathlib import Path

from search_space import Genotype
from search_space.grid import Grid, Layer
from search_space.presets import default_operation, unet_edges, unet_pass_through
from uxnet_eval.runs.result import read_result


def parts(found: Genotype) -> dict[str, Genotype]:
    """The networks by name.

    Nodes that the U-Net passes through stay ``identity`` without the found edges. Layers that the
    found network does not have take the U-Net's operation.
    """
    levels, edges = found.levels, unet_edges(found.levels)
    passing = {Layer(node, "normal"): "identity" for node in unet_pass_through(levels)}
    unet = {layer: default_operation(layer) for layer in Grid(levels).layers} | passing
    operations = {**unet, **found.operations, **passing}
    return {
        "widths": Genotype.from_choices(levels, edges, unet, widths=found.widths),
        "operations": Genotype.from_choices(levels, edges, operations, widths=found.widths),
        "edges": Genotype.from_choices(
            levels, found.edges, unet, widths=found.widths, edge_scale=found.edge_scale
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="output folder of uxnet contest, with contender: searched")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the genotypes")
    options = parser.parse_args()
    found = Genotype.load(options.run / read_result(options.run, ("architecture",))["architecture"])
    options.output.mkdir(parents=True, exist_ok=True)
    for name, genotype in parts(found).items():
        genotype.save(options.output / f"{name}.json")
        print(options.output / f"{name}.json")


if __name__ == "__main__":
    main()
