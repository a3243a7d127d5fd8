"""NNI's web UI, TensorBoard and the report, seen through a real browser on a real experiment of tiny searches."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from chromium import Page, browser, open_report

from search_space.grid import Grid
from uxnet_eval.nni_experiments import ports
from uxnet_eval.nni_experiments.launch import launch, stop, wait_until_done
from uxnet_eval.nni_experiments.records import ExperimentRecord, find_experiment
from uxnet_eval.nni_guards.door import open_url, read_token
from uxnet_eval.report import write_report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[1]
PORTS = range(18200, 18300)
LEVELS = 2
EDGES = [str(edge) for edge in Grid(LEVELS).edges]
RUN = {
    "plan": {"spacing_mm": [1.0] * 3, "patch_size": [16, 16, 16], "strides": [[2, 2, 2]], "batch_size": 1},
    "space": {"base_channels": 2},
    "search": {
        "epochs": 2,
        "steps_per_epoch": 2,
        "warmup_epochs": 0,
        "validation_cases": 2,
        "beta_learning_rate": 0.5,
    },
    "runtime": {"num_threads": 1, "precision": "float32"},
}
# NNI's pages ask a network for their icons; nothing else may go wrong in them.
ICONS = "net::ERR_"
DEEP_TEXT = """(() => {
  const texts = [];
  const walk = (node) => {
    if (node.nodeType === Node.TEXT_NODE && node.data.trim()) texts.push(node.data.trim());
    if (node.shadowRoot) walk(node.shadowRoot);
    if (!["STYLE", "SCRIPT"].includes(node.nodeName)) node.childNodes.forEach(walk);
  };
  walk(document.body);
  return texts.join("\\n");
})()"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as tab:
        tab.resize(1280)
        yield tab


@pytest.fixture(scope="module")
def experiment(
    demo_set: Path, page: Page, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ExperimentRecord]:
    """Two finished searches; the web UI still runs. Stopped at the end, TensorBoard too.

    ``early.html`` beside its configuration is the report of the time when the first search had validated once.
    """
    folder = tmp_path_factory.mktemp("web_ui")
    (folder / "tiny.run.yml").write_text(yaml.safe_dump({"dataset": str(demo_set), **RUN}))
    (folder / "tiny.yml").write_text(
        yaml.safe_dump(
            {
                "experimentName": "tiny",
                "trialCommand": f"{sys.executable} -m uxnet_eval.cli search --config {folder}/tiny.run.yml",
                "trialCodeDirectory": str(ROOT),
                "trialConcurrency": 2,
                "maxTrialNumber": 2,
                "searchSpace": {"seed": {"_type": "choice", "_value": [0, 1]}},
                "tuner": {"name": "GridSearch"},
                "trainingService": {"platform": "local"},
            }
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # where NNI keeps its list of experiments
        patch.setattr(ports, "FIRST_PORT", PORTS.start)
        started = launch(folder / "tiny.yml", experiment_dir=folder / "nni")
        try:
            while not list((folder / "nni").rglob("search.json")):  # written at the first validation
                assert find_experiment(started.experiment_id).status not in ("DONE", "ERROR", "STOPPED")
                time.sleep(0.2)
            write_report(started.experiment_id, folder / "early.html")
            page.open(started.url)  # leaves the cookie
            yield wait_until_done(started.experiment_id, poll_s=0.5)
        finally:
            stop(started.experiment_id)
    left = [
        each.info["cmdline"]
        for each in psutil.process_iter(["cmdline"])
        if any(started.experiment_id in word for word in each.info["cmdline"] or ())
    ]
    assert left == []


def address(experiment: ExperimentRecord) -> str:
    return f"http://127.0.0.1:{experiment.port}"


def ask(url: str, token: str | None) -> Any:
    with open_url(url, token, timeout_s=10) as answer:
        return json.loads(answer.read())


def open_trials(page: Page, experiment: ExperimentRecord) -> None:
    page.open(f"{address(experiment)}/detail")
    page.wait("document.querySelectorAll('.ms-DetailsRow').length === 2")


def click_button(page: Page, text: str, within: str = "document") -> None:
    button = f"[...{within}.querySelectorAll('button')].find((each) => /{text}/.test(each.innerText))"
    page.wait(f"{button} && !{button}.disabled")
    page.run(f"{button}.click()")


def choose(page: Page, key: str) -> list[str]:
    """Chooses a key of the intermediate results in the open dialog, and returns all that could be chosen."""
    page.wait("document.querySelector('.ms-Modal .ms-Dropdown')")
    page.settle(0.5)  # until the dialog has slid in
    page.run("document.querySelector('.ms-Modal .ms-Dropdown').click()")
    page.wait("document.querySelectorAll('.ms-Dropdown-item').length > 1")
    keys = page.run(
        "[...document.querySelectorAll('.ms-Dropdown-item')].map((each) => each.innerText.trim())"
    )
    page.run(
        f"[...document.querySelectorAll('.ms-Dropdown-item')].find((each) => each.innerText.trim() === '{key}').click()"
    )
    page.wait(f"document.querySelector('.ms-Modal .ms-Dropdown').innerText.startsWith('{key}')")
    page.settle(1.2)  # until the curve is drawn out
    return keys


def num_pixels(page: Page, color: tuple[int, int, int]) -> int:
    """Pixels of a colour in the open dialog's chart."""
    script = """((color) => {
      const canvas = document.querySelector('.ms-Modal canvas');
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      let count = 0;
      for (let i = 0; i < data.length; i += 4)
        if (data[i + 3] === 255 && color.every((value, c) => data[i + c] === value)) count++;
      return count;
    })"""
    return page.run(f"{script}({list(color)})")


FIRST, SECOND = (84, 112, 198), (145, 204, 117)  # the colours of the chart's first and second curve


# NNI's web UI ----------------------------------------------------------------------------------------------------


def test_the_ui_lists_the_trials_with_their_scores(page: Page, experiment: ExperimentRecord) -> None:
    open_trials(page, experiment)
    rows = page.run("[...document.querySelectorAll('.ms-DetailsRow')].map((each) => each.innerText)")
    for row, trial in zip(sorted(rows), experiment.trials(), strict=True):
        assert trial.final is not None
        assert trial.id in row and "SUCCEEDED" in row
        assert f"{trial.final['default']:.6f}".rstrip("0") in row
    assert all(ICONS in error for error in page.errors)


def test_the_columns_of_the_final_result_are_few_and_sortable(
    page: Page, experiment: ExperimentRecord
) -> None:
    open_trials(page, experiment)
    click_button(page, "Remove columns")
    page.wait("document.querySelectorAll('.ms-Dialog-main .ms-Checkbox').length > 5")
    columns = page.run(
        "[...document.querySelectorAll('.ms-Dialog-main .ms-Checkbox')].map((each) => each.innerText)"
    )
    metrics = [column.replace(" (metric)", "").split()[-1] for column in columns if "(metric)" in column]
    assert metrics == ["derived_dice", "edges_kept", "decided_gates", "parameters"]
    page.run(
        "[...document.querySelectorAll('.ms-Dialog-main .ms-Checkbox')]"
        ".find((each) => /derived_dice/.test(each.innerText)).querySelector('input').click()"
    )
    click_button(page, "Save", "document.querySelector('.ms-Dialog-main')")
    header = "[...document.querySelectorAll('[role=columnheader]')].find((each) => /derived_dice/.test(each.innerText))"
    page.wait(header)
    # NNI sorts by what it knew of the columns at the last refresh; it refreshes itself every ten seconds.
    click_button(page, "Refresh")
    page.settle(1)
    page.run(f"{header}.querySelector('.ms-DetailsHeader-cellTitle').click()")
    page.wait(f"{header}.getAttribute('aria-sort') !== 'none'")
    shown = page.run("[...document.querySelectorAll('.ms-DetailsRow')].map((each) => each.innerText)")
    ordered = sorted(experiment.trials(), key=lambda trial: (trial.final or {})["derived_dice"])
    if page.run(f"{header}.getAttribute('aria-sort')") == "descending":
        ordered.reverse()
    assert [trial.id in row for trial, row in zip(ordered, shown, strict=True)] == [True, True]


def test_the_curve_of_every_edge_can_be_chosen(page: Page, experiment: ExperimentRecord) -> None:
    open_trials(page, experiment)
    page.run("document.querySelector('.ms-DetailsRow button[title=Intermediate]').click()")
    assert choose(page, EDGES[-1]) == ["default", "derived_dice", *EDGES]
    assert num_pixels(page, FIRST) > 200  # a line, its dots and its entry in the legend


def test_two_trials_are_compared_edge_by_edge(page: Page, experiment: ExperimentRecord) -> None:
    open_trials(page, experiment)
    page.run(
        "document.querySelectorAll('.ms-DetailsRow input[type=checkbox]').forEach((each) => each.click())"
    )
    click_button(page, "Compare")
    assert choose(page, EDGES[0]) == ["default", "derived_dice", *EDGES]
    text = page.run("document.querySelector('.ms-Modal').innerText")
    assert all(trial.id in text for trial in experiment.trials())
    assert num_pixels(page, FIRST) > 200 and num_pixels(page, SECOND) > 200


def test_the_tensorboard_button_leads_to_the_curves_and_the_film(
    page: Page, experiment: ExperimentRecord
) -> None:
    open_trials(page, experiment)
    page.run(
        "window.opened = []; window.open = (url) => { window.opened.push(url) };"
        "document.querySelectorAll('.ms-DetailsRow input[type=checkbox]').forEach((each) => each.click())"
    )
    click_button(page, "^TensorBoard")
    page.wait("document.querySelector('.ms-Dialog-main')")
    click_button(page, "Ok", "document.querySelector('.ms-Dialog-main')")
    page.wait("window.opened.length")
    url = page.run("window.opened[0]")
    assert url.startswith("http://127.0.0.1:")
    ids = {trial.id for trial in experiment.trials()}
    page.wait(f"fetch('{address(experiment)}/api/v1/nni/tensorboard-tasks').then(() => true)")
    ask_it = partial(ask, token=read_token(experiment.folder))
    for _ in range(60):  # TensorBoard takes some seconds to start, and more to read
        try:
            runs = ask_it(f"{url}/data/runs")
        except OSError:
            runs = []
        if len(runs) == 2:
            break
        page.settle(0.5)
    assert {run.split("-", 1)[1].removesuffix("/.") for run in runs} == ids
    images = ask_it(f"{url}/data/plugin/images/tags")
    for tags in images.values():
        assert "architecture" in tags
        assert sum(tag.startswith("segmentation/") for tag in tags) == 2
    run = runs[0].replace("/", "%2F")
    film = ask_it(f"{url}/data/plugin/images/images?tag=architecture&run={run}&sample=0")
    assert len(film) == RUN["search"]["epochs"]  # a picture for every validation
    scalars = {
        tag.split("/")[0] for tags in ask_it(f"{url}/data/plugin/scalars/tags").values() for tag in tags
    }
    assert {f"gates_into_stage_{stage}" for stage in range(LEVELS)} <= scalars
    assert {f"operations_{node}" for node in Grid(LEVELS).nodes} <= scalars
    assert min(scalars) == "dice"  # what TensorBoard shows first
    page.open(f"{url}/#images")
    page.wait(f"{DEEP_TEXT}.includes('architecture')")
    text = page.run(DEEP_TEXT)
    assert all(trial in text for trial in ids)
    assert "segmentation/" in text


# The report ------------------------------------------------------------------------------------------------------


def test_the_running_experiment_serves_the_report_of_all_trials(
    page: Page, experiment: ExperimentRecord
) -> None:
    open_report(page, f"{address(experiment)}/logs/report.html")
    text = page.run("document.body.innerText")
    for trial in experiment.trials():
        assert f"trial {trial.sequence} ({trial.id})" in text
        open_report(page, f"{address(experiment)}/logs/report-{trial.id}.html")
        assert page.run("document.querySelectorAll('#overlays img').length") == 2
        assert page.run(
            "[...document.querySelectorAll('#overlays img')].every((each) => each.naturalWidth > 300)"
        )


def test_a_report_was_made_while_the_searches_ran(page: Page, experiment: ExperimentRecord) -> None:
    open_report(page, (experiment.folder.parents[1] / "early.html").as_uri())
    text = page.run("document.body.innerText")
    assert f"NNI experiment {experiment.id} (" in text and "(DONE)" not in text and "(STOPPED)" not in text
    assert "no final result yet; shown is the newest validation" in text or "no search.json yet" in text
    assert page.run("document.querySelectorAll('#drawing .edge').length") == len(EDGES)


def test_the_address_of_the_report_is_in_the_log_of_every_trial(experiment: ExperimentRecord) -> None:
    for trial in experiment.trials():
        logs = "".join(file.read_text() for file in trial.output.glob("trial.*"))
        assert f"/logs/report-{trial.id}.html" in logs
        assert "report of all searches of the experiment: http" in logs and "/logs/report.html" in logs


def test_the_same_report_comes_from_the_folder_alone_after_nni_has_stopped(
    page: Page, experiment: ExperimentRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comes last: it ends the experiment."""
    open_report(page, f"{address(experiment)}/logs/report.html")
    tables = "[...document.querySelectorAll('#summary table, #weights table')].map((each) => each.innerText)"
    served = [text.replace("done", "SUCCEEDED") for text in page.run(tables)]
    stop(experiment.id)
    by_id = write_report(experiment.id, tmp_path / "by_id.html")
    monkeypatch.setenv("HOME", str(tmp_path))  # NNI knows nothing of it any more
    kept = experiment.folder.rename(tmp_path / "kept")
    try:
        by_folder = write_report(kept, tmp_path / "by_folder.html")
    finally:
        kept.rename(experiment.folder)
    for written in (by_id, by_folder):
        open_report(page, written.as_uri())
        assert "(STOPPED)" in page.run("document.querySelector('header').innerText")
        assert page.run(tables) == served
        assert page.run("document.querySelectorAll('#run option').length") == 2
        assert page.run("document.querySelectorAll('#agreement table').length") >= 3
