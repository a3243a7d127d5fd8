"""The report's page: what it is given, and the derivation in its JavaScript."""

from __future__ import annotations

import json
import re
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search_runs import made_up_record, made_up_run

from search_space.grid import Grid, live_nodes, widest_path
from strategies.gates import decided_share
from strategies.pruning import RescueWarning, keep_edges
from uxnet_eval.report import live, read_source, write_report
from uxnet_eval.report.geometry import grid_geometry
from uxnet_eval.report.page import page_data, page_html
from uxnet_eval.report.search_run import read_search, run_data

ASSETS = Path(live.__file__).parent / "assets"


# The derivation in JavaScript ------------------------------------------------------------------------------------


def in_node(script: str, values: Any) -> Any:
    """What a function body in JavaScript, with ``pruning.js`` before it, returns for ``values``; run by NNI's node."""
    import nni_node

    node = Path(nni_node.__path__[0]) / "node"
    source = (ASSETS / "pruning.js").read_text()
    program = (
        f"{source}\nconst input = JSON.parse(require('fs').readFileSync(0));"
        f"\nprocess.stdout.write(JSON.stringify((() => {{{script}}})()));"
    )
    done = subprocess.run(
        [str(node), "-e", program], input=json.dumps(values), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("levels", [2, 3, 4, 5])
def test_javascript_keeps_the_edges_that_python_keeps(levels: int) -> None:
    """300 random states each; coarse gates make ties, high thresholds cut the output off."""
    random, grid = np.random.default_rng(levels), Grid(levels)
    states = []
    for number in range(300):
        gates = random.random(len(grid.edges))
        if number % 3 == 0:
            gates = gates.round(1)
        if number % 7 == 0:
            gates[random.random(len(gates)) < 0.3] = 0.0
        states.append((gates.tolist(), float(random.choice([0.01, 0.3, 0.5, 0.75, 0.9, 0.99]))))
    answers = in_node(
        "return input.states.map(([gates, tau]) => { const s = keepEdges(input.grid, gates, tau);"
        "return [s.kept, s.rescued, s.kept.map((_, e) => edgeRole(s, e)), liveNodes(input.grid, s.kept), decidedShare(gates)]; })",
        {"grid": grid_geometry(levels, 3), "states": states},
    )
    num_rescued = 0
    for (values, tau), (kept, rescued, roles, live_flags, decided) in zip(states, answers, strict=True):
        gates = dict(zip(grid.edges, values, strict=True))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            expected = keep_edges(grid, gates, tau)
        assert [edge for edge, is_kept in zip(grid.edges, kept, strict=True) if is_kept] == sorted(
            expected, key=grid.edges.index
        )
        was_rescued = any(issubclass(each.category, RescueWarning) for each in caught)
        assert [grid.edges[e] for e in rescued] == (list(widest_path(grid, gates)) if was_rescued else [])
        num_rescued += was_rescued
        for edge, role in zip(grid.edges, roles, strict=True):
            opened = gates[edge] >= tau
            assert role == (
                ("kept" if opened else "restored") if edge in expected else ("dead" if opened else "pruned")
            )
        assert [node for node, flag in zip(grid.nodes, live_flags, strict=True) if flag] == sorted(
            live_nodes(expected)
        )
        assert decided == pytest.approx(decided_share(values))
    assert 20 < num_rescued < 280  # both branches were tried


def test_javascript_takes_the_first_of_equal_operations() -> None:
    assert in_node("return input.map(argmax)", [[1, 3, 3], [2, 2], [0]]) == [1, 0, 0]


# What the page is given ------------------------------------------------------------------------------------------


def test_gates_stand_in_the_order_of_the_grid_and_unsearched_edges_are_0_or_1(tmp_path: Path) -> None:
    record = made_up_record()
    for values in (record.gates, *(entry["gates"] for entry in record.history)):
        values.pop("N0.0-N0.2", None)  # not in the space
        values.pop("N0.0-N0.1", None)
    record.gates = dict(reversed(record.history[-1]["gates"].items()))  # the file's order does not count
    record.fixed_edges = ["N0.0-N0.1"]
    record.save(tmp_path)
    data = run_data(read_search(tmp_path, "run"))
    edges = list(map(str, Grid(3).edges))
    last = dict(zip(edges, data["gates"][-1], strict=True))
    assert last["N0.0-N0.1"] == 1 and last["N0.0-N0.2"] == 0
    assert all(last[name] == gate for name, gate in record.gates.items())  # to the last digit
    assert data["searchedEdges"] == [name for name in edges if name not in ("N0.0-N0.1", "N0.0-N0.2")]
    assert data["epochs"] == [1, 2, 3, 4]  # as the search's own messages count
    assert data["curves"]["loss_weights"] == [1, 1 / 2, 1 / 3, 1 / 4]


def test_fixed_operations_have_no_weights(tmp_path: Path) -> None:
    record = made_up_record()
    for entry in record.history:
        del entry["alphas"]["N0.0/normal"]
    del record.alphas["N0.0/normal"]
    record.fixed_operations = {"N0.0/normal": "2xconv3"}
    record.save(tmp_path)
    layers = run_data(read_search(tmp_path, "run"))["layers"]
    assert layers["N0.0/normal"] == {"operations": ["2xconv3"], "weights": None}
    assert len(layers["N1.0/normal"]["weights"]) == 4


def test_many_long_searches_stay_a_few_megabytes(tmp_path: Path) -> None:
    for seed in range(4):
        made_up_run(tmp_path / f"seed-{seed}", levels=5, num_epochs=120, seed=seed)
    page = write_report(tmp_path, tmp_path / "report.html")
    assert page.stat().st_size < 4e6
    data = page_data(read_source(tmp_path))
    assert [len(run["epochs"]) for run in data["runs"]] == [60] * 4
    assert all(run["epochs"][0] == 1 and run["epochs"][-1] == 120 for run in data["runs"])
    assert all(len(run["curves"]["default"]) == 120 for run in data["runs"])


def test_the_report_of_a_trial_is_written_within_a_second(tmp_path: Path) -> None:
    made_up_run(tmp_path, levels=5, num_epochs=40)
    write_report(tmp_path, tmp_path / "report.html")  # imports and the layout are done once
    start = time.process_time()
    write_report(tmp_path, tmp_path / "report.html")
    assert time.process_time() - start < 1


def test_the_page_names_no_address_and_no_text_of_the_data_is_markup(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><b>"
    made_up_run(tmp_path / "run", provenance={"dataset": evil, "note": "\u2028"})
    page = page_html(read_source(tmp_path / "run"))
    assert page.count("</script>") == 2  # the data and the scripts
    assert evil not in page
    embedded = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert embedded is not None
    assert json.loads(embedded[1])["runs"][0]["provenance"]["dataset"] == evil
    addresses = set(re.findall(r"https?://[^\s\"'`]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address that is asked
    assert "default-src 'none'" in page


def test_geometry_is_that_of_the_drawing() -> None:
    for levels in (2, 3, 4, 5):
        geometry = grid_geometry(levels, 3)
        for x, y, width, height in geometry["cards"]:
            assert x > 0 and x + width < geometry["width"]
            assert y > 0 and y + height < geometry["height"]
        for source, target, curve in zip(
            geometry["sources"], geometry["targets"], geometry["curves"], strict=True
        ):
            for node, (x, y) in (
                (source, curve[0]),
                (target, curve[3]),
            ):  # an edge ends on the cards' borders
                left, top, width, height = geometry["cards"][node]
                assert left - 0.1 <= x <= left + width + 0.1 and top - 0.1 <= y <= top + height + 0.1
                assert min(abs(x - left), abs(x - left - width), abs(y - top), abs(y - top - height)) < 0.1
