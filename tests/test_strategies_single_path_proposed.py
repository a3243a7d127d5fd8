"""Which measured architectures are trained: the best ones that differ from each other."""

from __future__ import annotations

from search_space import Genotype, presets
from search_space.cost import Cost
from strategies.single_path.front import Candidate
from strategies.single_path.proposed import LEAST_DIFFERENCE, difference, propose_best

UNET, DENSE = presets.get("unet", 4), presets.get("unet++", 4)


def measured(dice: float, genotype: Genotype) -> Candidate:
    return Candidate(genotype, dice, Cost(parameters=1, multiply_adds=1))


def near_copy(genotype: Genotype) -> Genotype:
    """The genotype with one other operation."""
    layer = next(layer for layer, name in genotype.operations.items() if name == "2xconv3")
    return Genotype.from_choices(
        genotype.levels, genotype.edges, {**genotype.operations, layer: "conv3_rate2"}
    )


def test_a_near_copy_of_the_best_gives_way_to_a_worse_network_that_differs() -> None:
    copy = near_copy(DENSE)
    assert 0 < difference(DENSE, copy) < LEAST_DIFFERENCE <= difference(DENSE, UNET)
    candidates = [measured(0.7, UNET), measured(0.8, copy), measured(0.9, DENSE)]
    assert propose_best(candidates, 2) == [DENSE, UNET]


def test_near_copies_fill_up_where_no_other_differs() -> None:
    copy = near_copy(DENSE)
    assert propose_best([measured(0.8, copy), measured(0.9, DENSE)], 2) == [DENSE, copy]


def test_a_network_that_was_measured_twice_is_proposed_once() -> None:
    candidates = [measured(0.9, UNET), measured(0.8, UNET), measured(0.7, DENSE)]
    assert propose_best(candidates, 3) == [UNET, DENSE]


def test_the_difference_counts_edges_operations_and_widths_of_either() -> None:
    def narrow(*factors: float) -> Genotype:
        return Genotype.from_choices(4, UNET.edges, UNET.operations, widths=factors)

    one, other = narrow(1.0, 1.0, 1.0, 1.0), narrow(1.0, 0.5, 1.0, 1.0)
    assert difference(one, other) == 1 / (len(one.edges) + len(one.operations) + 4)
    assert difference(one, one) == 0
