"""The benchmark that compares short trainings with full ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from test_uxnet_eval_search_single_path import write_config

from benchmarks import ranks
from uxnet_eval.runs.front_record import FrontRecord
from uxnet_eval.search.run import run_search


@pytest.mark.parametrize("shared", [[], ["--shared"]])
def test_it_measures_each_network_once_and_compares(
    shared: list[str],
    tmp_path: Path,
    demo_set: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = run_search(write_config(tmp_path, demo_set))
    genotypes = [each.genotype for each in FrontRecord.load(folder).measured[:4]]
    (tmp_path / "genotypes.json").write_text(json.dumps(genotypes))
    trained = pd.DataFrame({"network": range(4), "trained": [0.1, 0.3, 0.2, 0.4]})
    trained.to_csv(tmp_path / "trained.csv")
    results = tmp_path / "measured.csv"
    words = [str(folder), str(tmp_path / "genotypes.json"), "--trained", str(tmp_path / "trained.csv")]
    monkeypatch.setattr(sys, "argv", ["ranks", *words, *shared, "--steps", "2", "-o", str(results)])
    ranks.main()
    first, printed = results.read_text(), capsys.readouterr().out
    assert printed.count("network ") >= 4
    assert "measured: tau" in printed
    assert "regression on the other networks: tau" in printed
    results.write_text("\n".join(first.splitlines()[:3]) + "\n")
    ranks.main()
    assert results.read_text() == first
    assert "network 3 of 4" in capsys.readouterr().out
