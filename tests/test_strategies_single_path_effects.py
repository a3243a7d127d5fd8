"""How the Dice of random networks depends on their choices."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from scipy.stats import spearmanr
from typer.testing import CliRunner

from search_space import Genotype, SearchSpaceConfig, UserError
from strategies.single_path.effects import effects
from strategies.single_path.features import feature_names, features, operations_of
from strategies.single_path.sampling import Sampler
from uxnet_eval import cli
from uxnet_eval.runs.front_record import FrontRecord, Measured

SPACE = SearchSpaceConfig(levels=3, base_channels=4, width_choices=(0.5, 1.0, 1.5))
NETWORKS = [Sampler(SPACE).draw(Random(number)) for number in range(40)]


def widths_of(genotype: Genotype) -> tuple[float, ...]:
    assert genotype.widths is not None
    return genotype.widths


def test_the_choice_that_makes_the_dice_comes_first() -> None:
    first, *others = effects(NETWORKS, [0.5 + 0.1 * widths_of(each)[1] for each in NETWORKS])
    assert first == ("width of level 1", pytest.approx(1), pytest.approx(1), pytest.approx(1))
    assert all(abs(other.correlation) < 0.6 for other in others)


def test_the_correlation_is_spearmans_and_lies_in_its_interval() -> None:
    random = Random(0)
    dice = [0.5 + 0.001 * len(each.edges) + random.gauss(0, 0.004) for each in NETWORKS]
    found = {each.choice: each for each in effects(NETWORKS, dice)}
    edges = found["number of edges"]
    assert edges.correlation == pytest.approx(spearmanr([len(each.edges) for each in NETWORKS], dice)[0])
    assert -1 <= edges.low < edges.correlation < edges.high <= 1


def test_a_choice_that_never_varies_is_left_out() -> None:
    fixed = SPACE.model_copy(update={"width_choices": (1.0,), "search_edges": False})
    networks = [Sampler(fixed).draw(Random(number)) for number in range(20)]
    names = {each.choice for each in effects(networks, [0.01 * number for number in range(20)])}
    assert names
    assert not any(name.startswith(("width", "number of edges")) for name in names)


def test_every_column_has_its_name() -> None:
    operations = operations_of(NETWORKS)
    table, names = features(NETWORKS, operations), feature_names(3, operations)
    assert table.shape == (40, len(names))
    assert table[5, names.index("width of level 2")] == pytest.approx(
        {0.5: -1.0, 1.0: 0.0, 1.5: 0.5849625}[widths_of(NETWORKS[5])[2]]
    )
    for kind in ("normal", "reduction", "expansion"):
        shares = [column for name, column in zip(names, table.T, strict=True) if name.endswith(f"({kind})")]
        assert sum(shares) == pytest.approx([1.0 if kind in used(each) else 0.0 for each in NETWORKS])


def used(genotype: Genotype) -> set[str]:
    return {layer.kind for layer in genotype.operations}


@pytest.fixture
def search(tmp_path: Path) -> Path:
    measured = [
        Measured(
            genotype=each.to_dict(),
            budget_share=1.0,
            finetuned_dice=0.5 + 0.1 * widths_of(each)[0],
            parameters=100,
            multiply_adds=1000,
        )
        for each in NETWORKS[:12]
    ]
    FrontRecord(multiply_adds=1000, measured=measured, is_finished=True).save(tmp_path)
    return tmp_path


def test_front_says_why(search: Path) -> None:
    shown = CliRunner().invoke(cli.app, ["front", str(search), "--why", "12"])
    assert shown.exit_code == 0, shown.output
    row = next(line for line in shown.output.splitlines() if "width of level 0" in line)
    assert "+1.00" in row


def test_networks_of_several_budgets_are_refused(search: Path) -> None:
    record = FrontRecord.load(search)
    record.measured[-1] = record.measured[-1].model_copy(update={"budget_share": 0.5})
    assert record.effects(11)
    with pytest.raises(UserError, match="the first 12 networks are of several budgets"):
        record.effects(12)


@pytest.mark.parametrize(
    ("number", "message"),
    [(9, "9 networks are too few; give at least 10"), (13, "13 networks are asked for, 12 are measured")],
)
def test_too_few_networks_are_refused(search: Path, number: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        FrontRecord.load(search).effects(number)
