"""The door of NNI's manager through a real browser: the own page works; foreign pages and a rebound name do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from chromium import Page, browser

from uxnet_eval.nni_experiments.launch import Launched, launch, stop
from uxnet_eval.nni_experiments.ports import is_free
from uxnet_eval.nni_experiments.records import find_experiment
from uxnet_eval.nni_guards.door import open_url, read_token

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# A trial that lasts as long as the experiment.
TRIAL = "import time, nni; nni.get_next_parameter(); nni.report_intermediate_result(0.5); time.sleep(600)"
ATTACK = """(async () => {
  const address = `ADDRESS/api/v1/nni/trial-jobs`;
  const body = JSON.stringify({ seed: 666 });
  const told = [];
  for (const mode of ["no-cors", "cors"]) {
    const given = { method: "POST", mode, credentials: "include", body, headers: { "Content-Type": "text/plain" } };
    await fetch(address, given).then((answer) => told.push(answer.type), () => told.push("failed"));
  }
  await fetch(address, { credentials: "include" }).then(() => told.push("read"), () => told.push("failed"));
  const frame = document.createElement("iframe");
  frame.name = "hidden";
  document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, { action: address, method: "POST", enctype: "text/plain", target: "hidden" });
  form.innerHTML = `<input name='{"seed": 666, "x": "' value='"}'>`;
  document.body.append(form);
  form.submit();
  told.push(await new Promise((resolve) => {
    const socket = new WebSocket("ADDRESS/tuner".replace("http", "ws"));
    socket.onopen = () => { socket.send(JSON.stringify({ type: "ER", content: "taken over" })); resolve("open"); };
    socket.onerror = () => resolve("failed");
  }));
  await new Promise((resolve) => setTimeout(resolve, 1500));
  return told;
})()"""


class Foreign(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title><body></body>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser("--host-resolver-rules=MAP evil.example 127.0.0.1") as tab:
        yield tab


@pytest.fixture(scope="module")
def experiment(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    folder = tmp_path_factory.mktemp("door")
    (folder / "trial.py").write_text(TRIAL)
    config = {
        "searchSpace": {"seed": {"_type": "choice", "_value": [3]}},
        "trialCommand": f"exec {sys.executable} trial.py",
        "trialConcurrency": 1,
        "maxTrialNumber": 1,
        "tuner": {"name": "GridSearch"},
        "trainingService": {"platform": "local"},
    }
    (folder / "toy.yml").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # where NNI keeps its list of experiments
        port = next(port for port in range(18600, 18650) if is_free(port))
        started = launch(folder / "toy.yml", experiment_dir=folder / "nni", port=port)
        try:
            page.open(f"http://127.0.0.1:{port}/")
            assert "needs the token" in page.run("document.body.innerText")
            page.open(started.url)
            page.wait(
                "document.querySelector('#root') && document.querySelector('#root').innerText.length > 50"
            )
            yield started
        finally:
            stop(started.experiment_id)
    left = [
        each.info["cmdline"]
        for each in psutil.process_iter(["cmdline"])
        if any(started.experiment_id in word for word in each.info["cmdline"] or ())
    ]
    assert left == []  # TensorBoard among them


def ask(experiment: Launched, path: str) -> Any:
    url = f"http://127.0.0.1:{experiment.port}/api/v1/nni/{path}"
    with open_url(url, read_token(experiment.folder), timeout_s=10) as answer:
        return json.loads(answer.read())


def wait_for_trial(page: Page) -> str:
    jobs = "fetch('/api/v1/nni/trial-jobs').then((answer) => answer.json())"
    for _ in range(240):
        if page.run(f"{jobs}.then((found) => found.some((each) => each.status === 'RUNNING'))"):
            break
        page.settle(0.25)
    return page.run(f"{jobs}.then((found) => found[0].trialJobId)")


def test_the_own_page_works_and_hides_the_token(page: Page, experiment: Launched) -> None:
    page.open(experiment.url)
    page.wait("location.pathname === '/oview'")
    assert "token" not in page.run("location.href")
    assert page.run("document.cookie") == ""  # HttpOnly
    page.wait(f"document.body.innerText.includes('{experiment.experiment_id}')")
    trial = wait_for_trial(page)
    page.open(f"http://127.0.0.1:{experiment.port}/detail")
    page.wait("document.querySelectorAll('.ms-DetailsRow').length === 1")
    assert trial in page.run("document.body.innerText")
    assert [error for error in page.errors if "net::ERR_" not in error] == []  # icons from a network


def test_files_outside_are_refused_to_the_own_page_too(page: Page, experiment: Launched) -> None:
    page.open(experiment.url)
    trial = wait_for_trial(page)
    status = "fetch('/api/v1/nni/trial-file/{}/{}').then((answer) => answer.status)"
    assert page.run(status.format(trial, "stdout")) == 200
    assert page.run(status.format(trial, "..%2f..%2f..%2f..%2f.netrc")) == 400
    assert page.run(status.format("..%2f..", "x")) == 400


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1"])  # another site; another port of this machine
@pytest.mark.parametrize("target", ["127.0.0.1", "localhost"])
def test_a_foreign_page_drives_nothing(
    page: Page, experiment: Launched, foreign_port: int, host: str, target: str
) -> None:
    page.open(experiment.url)
    wait_for_trial(page)
    page.open(f"http://{host}:{foreign_port}/")
    told = page.run(ATTACK.replace("ADDRESS", f"http://{target}:{experiment.port}"))
    assert told[1:] == ["failed"] * 3  # the first cannot be told: its answer is opaque
    assert len(ask(experiment, "trial-jobs")) == 1
    assert ask(experiment, "check-status")["errors"] == []
    assert find_experiment(experiment.experiment_id).status in ("RUNNING", "NO_MORE_TRIAL")


def test_a_rebound_name_reads_nothing(page: Page, experiment: Launched) -> None:
    token = read_token(experiment.folder)
    for path in ("/", f"/?token={token}", "/logs/nnimanager.log", f"/api/v1/nni/experiment?token={token}"):
        page.open(f"http://evil.example:{experiment.port}{path}")
        assert page.run("document.body.innerText").strip() == (
            "This server answers to localhost and 127.0.0.1 alone."
        )


def test_tensorboard_opens_from_the_page_alone(page: Page, experiment: Launched, foreign_port: int) -> None:
    page.open(experiment.url)
    trial = wait_for_trial(page)
    start = (
        "fetch('/api/v1/nni/tensorboard', {method: 'POST', headers: {'Content-Type': 'application/json'},"
        " body: JSON.stringify({trials: '%s'})}).then((answer) => answer.json())"
    )
    assert "must name trials" in page.run(start % "../../x")["error"]
    port = page.run(start % trial)["port"]
    for _ in range(120):  # TensorBoard takes some seconds to start
        try:
            open_url(
                f"http://127.0.0.1:{port}/data/runs", read_token(experiment.folder), timeout_s=10
            ).close()
            break
        except OSError:
            page.settle(0.5)
    page.open(f"http://127.0.0.1:{port}/data/runs")
    assert page.run("document.body.innerText").strip() == "[]"
    page.open(f"http://evil.example:{port}/data/runs")
    assert "Another host" in page.run("document.body.innerText")


def test_nnictl_reads_with_the_token_file_and_stops_without(experiment: Launched) -> None:
    """Comes last: it ends the experiment."""

    def nnictl(*arguments: str, **variables: str) -> str:
        program = Path(sys.executable).with_name("nnictl")
        environment = {**os.environ, **variables}
        return subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True, timeout=120
        ).stdout

    home = {"HOME": os.environ["HOME"]}
    listed = nnictl("trial", "ls", experiment.experiment_id, NETRC=str(experiment.folder / ".netrc"), **home)
    assert find_experiment(experiment.experiment_id).trials()[0].id in listed
    assert "Stop experiment success" in nnictl("stop", experiment.experiment_id, **home)
    stop(experiment.experiment_id)  # waits until it has ended
    assert find_experiment(experiment.experiment_id).status == "STOPPED"
