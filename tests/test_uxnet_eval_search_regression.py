"""A whole search with strategy ``regression`` on tiny data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_uxnet_eval_search_single_path import SECTIONS, measurements, write_config

from search_space import Genotype
from strategies.single_path import regression
from strategies.single_path.regression import expected_dice
from uxnet_eval.runs.front_record import FrontRecord
from uxnet_eval.search import choosing
from uxnet_eval.search.run import run_search


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "NUM_DRAWN", 5)
    monkeypatch.setattr(regression, "NUM_CHANGED", 5)


def write(folder: Path, demo_set: Path, **choice: Any) -> Path:
    return write_config(
        folder, demo_set, search={"strategy": "regression"}, choice=SECTIONS["choice"] | choice
    )


def test_what_the_regression_expects_ranks_the_networks(
    tmp_path: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in its measurements, the search ends as without a stop."""
    folder = run_search(write(tmp_path, demo_set))
    record = FrontRecord.load(folder)
    for share in (1.0, 0.6):
        found = [each for each in record.measured if each.budget_share == share]
        assert len(found) == 6
        assert all(each.multiply_adds <= share * record.multiply_adds for each in found)
        genotypes = [Genotype.from_dict(each.genotype) for each in found]
        dice = expected_dice(genotypes, [each.finetuned_dice or 0.0 for each in found])
        assert [each.expected_dice for each in found] == pytest.approx(dice)
        assert [each.score for each in found] == [each.expected_dice for each in found]
    best = record.best(multiply_adds=record.multiply_adds)
    assert best.dice == max(each.score for each in record.measured)
    assert Genotype.load(folder / "genotype.json") == best.genotype

    stopped, tune, calls = tmp_path / "stopped", choosing.Chooser._finetuned_dice, 0
    stopped.mkdir()

    def stopping(self: choosing.Chooser, genotype: Genotype) -> float | None:
        nonlocal calls
        calls += 1
        if calls == 11:  # in the second budget: the first has its expected Dice already
            raise KeyboardInterrupt
        return tune(self, genotype)

    with monkeypatch.context() as patched:
        patched.setattr(choosing.Chooser, "_finetuned_dice", stopping)
        with pytest.raises(KeyboardInterrupt):
            run_search(write(stopped, demo_set))
    assert measurements(run_search(write(stopped, demo_set))) == measurements(folder)


def test_a_record_without_expected_dice_has_no_such_entry(tmp_path: Path, demo_set: Path) -> None:
    """So programs that do not know the entry read the file too."""
    folder = run_search(write(tmp_path, demo_set, budget_shares=[1.0], num_measured=3))
    assert '"expected_dice"' in (folder / "front.json").read_text()
    record = FrontRecord.load(folder)
    record.measured = [each.model_copy(update={"expected_dice": None}) for each in record.measured]
    record.save(folder)
    assert '"expected_dice"' not in (folder / "front.json").read_text()
    assert FrontRecord.load(folder).measured == record.measured
