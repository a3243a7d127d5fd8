"""A search's own measure beside trained Dice: which trainings count, and Kendall's tau by hand."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pandas as pd
import pytest
from finished_trainings import made_up_training
from typer.testing import CliRunner

from search_space import SearchSpaceConfig, UserError
from strategies.single_path.sampling import Sampler
from uxnet_eval import cli
from uxnet_eval.comparison.trained_front import rank_correlations, trained_networks
from uxnet_eval.runs.front_record import FrontRecord, Measured

SAMPLER = Sampler(SearchSpaceConfig(levels=3, base_channels=4, width_choices=(0.5, 1.0)))
GENOTYPES = [SAMPLER.draw(Random(seed)) for seed in range(5)]
INHERITED, FINETUNED, TRAINED = (0.1, 0.4, 0.3, 0.2), (0.5, 0.6, 0.7, 0.8), (0.80, 0.82, 0.84, 0.86)


@pytest.fixture
def search(tmp_path: Path) -> Path:
    folder = tmp_path / "search"
    folder.mkdir()
    measured = [
        Measured(
            genotype=genotype.to_dict(),
            budget_share=1.0,
            inherited_dice=inherited,
            finetuned_dice=finetuned,
            parameters=100 + index,
            multiply_adds=1000 + index,
        )
        for index, (genotype, inherited, finetuned) in enumerate(
            zip(GENOTYPES, INHERITED, FINETUNED, strict=False)
        )
    ]
    FrontRecord(is_finished=True, multiply_adds=2000, measured=measured).save(folder)
    return folder


@pytest.fixture
def trainings(tmp_path: Path) -> Path:
    for index, dice in enumerate(TRAINED):
        for seed, change in ((0, -0.01), (1, 0.01)):  # so that the mean of the seeds is the Dice above
            made_up_training(
                tmp_path / "trainings" / f"{index}-{seed}",
                f"{index}.json",
                {"a": [dice + change, dice + change]},
                seed=seed,
                genotype=GENOTYPES[index],
            )
    made_up_training(tmp_path / "trainings" / "other", "4.json", {"a": [0.9, 0.9]}, genotype=GENOTYPES[4])
    made_up_training(tmp_path / "trainings" / "baseline", "dynunet", {"a": [0.9, 0.9]})
    return tmp_path / "trainings"


def test_trainings_of_the_searchs_networks_count(search: Path, trainings: Path) -> None:
    networks = trained_networks(FrontRecord.load(search), [str(trainings)])
    assert [network.dice for network in networks] == pytest.approx([0.86, 0.84, 0.82, 0.80])
    assert [network.num_trainings for network in networks] == [2, 2, 2, 2]


def test_kendalls_tau_by_hand(search: Path, trainings: Path) -> None:
    """Inherited 1 4 3 2 against 1 2 3 4: of six pairs three agree; finetuned: all agree."""
    found = rank_correlations(trained_networks(FrontRecord.load(search), [str(trainings)]))
    assert found["inherited"][0] == pytest.approx(0)
    assert found["finetuned"][0] == pytest.approx(1)
    assert rank_correlations(trained_networks(FrontRecord.load(search), [str(trainings)])[:2]) == {}


def test_front_prints_both(search: Path, trainings: Path) -> None:
    shown = CliRunner().invoke(cli.app, ["front", str(search), "--trained", str(trainings)])
    assert shown.exit_code == 0
    assert "Kendall's tau of finetuned and trained Dice: 1.00" in shown.output
    assert "0.8600" in shown.output


def test_the_trained_networks_as_a_table(search: Path, trainings: Path, tmp_path: Path) -> None:
    table = tmp_path / "trained.csv"
    command = ["front", str(search), "-o", str(table)]
    refused = CliRunner().invoke(cli.app, command)
    assert isinstance(refused.exception, UserError) and "--trained" in str(refused.exception)
    assert CliRunner().invoke(cli.app, [*command, "--trained", str(trainings)]).exit_code == 0
    rows = pd.read_csv(table)
    networks = trained_networks(FrontRecord.load(search), [str(trainings)])
    assert rows["trained_dice"].tolist() == pytest.approx([0.86, 0.84, 0.82, 0.80])
    assert rows["multiply_adds"].tolist() == [each.measured.multiply_adds for each in networks]


def test_trainings_of_other_networks_are_refused(search: Path, tmp_path: Path) -> None:
    made_up_training(tmp_path / "other", "4.json", {"a": [0.9, 0.9]}, genotype=GENOTYPES[4])
    with pytest.raises(UserError, match="hold no training of a network of this search"):
        trained_networks(FrontRecord.load(search), [str(tmp_path / "other")])


def test_only_folds_that_all_networks_have_count(search: Path, trainings: Path, tmp_path: Path) -> None:
    """One network has a training on an easier fold too, which would lift it."""
    made_up_training(trainings / "easy", "0.json", {"a": [0.99, 0.99]}, fold=3, genotype=GENOTYPES[0])
    networks = trained_networks(FrontRecord.load(search), [str(trainings)])
    assert [network.dice for network in networks] == pytest.approx([0.86, 0.84, 0.82, 0.80])
    for index, fold in ((0, 1), (1, 2)):
        made_up_training(
            tmp_path / "apart" / str(fold),
            f"{index}.json",
            {"a": [0.9, 0.9]},
            fold=fold,
            genotype=GENOTYPES[index],
        )
    with pytest.raises(UserError, match="trained on different folds; train all on one"):
        trained_networks(FrontRecord.load(search), [str(tmp_path / "apart")])
