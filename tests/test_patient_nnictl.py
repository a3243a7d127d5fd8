"""nnictl waits for a manager that listens late, and not for one that has ended."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from uxnet_eval.nni_experiments.ports import free_port
from uxnet_eval.nni_guards import patient_nnictl

SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass

time.sleep(float(sys.argv[2]))
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_a_manager_that_listens_late_is_waited_for(
    children: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_nnictl, "_has_living_child", lambda: children[0].poll() is None)
    port, start = free_port(False), time.monotonic()
    children.append(subprocess.Popen([sys.executable, "-c", SERVER, str(port), "6"]))
    patient_nnictl.wait_for_manager(port)
    assert time.monotonic() - start > 6  # NNI itself gives up after four


def test_a_manager_that_has_ended_is_not_waited_for() -> None:
    program = (
        "import subprocess, sys\n"
        "from uxnet_eval.nni_guards import patient_nnictl\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(0.5)'])\n"
        "assert patient_nnictl._has_living_child()\n"
        "while patient_nnictl._has_living_child(): pass\n"  # a zombie, as nobody waits for it
        "try:\n"
        "    patient_nnictl.wait_for_manager(1)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "ConnectionError"


def test_it_is_nnictl() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uxnet_eval.nni_guards.patient_nnictl", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == "3.0"


def test_a_launch_that_is_killed_keeps_others_waiting_until_its_nnictl_has_ended(tmp_path: Path) -> None:
    """Else the next launch takes the same port."""
    killing = "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(4)"
    program = (
        "import os, sys\n"
        "from uxnet_eval.nni_experiments import nnictl\n"
        f"nnictl.NNICTL = (sys.executable, '-c', {killing!r})\n"
        "with nnictl.one_launch_at_a_time() as lock:\n"
        "    nnictl.nnictl([], dict(os.environ), lock)\n"
    )
    (tmp_path / "nni-experiments").mkdir()
    environment = {**os.environ, "HOME": str(tmp_path)}
    killed = subprocess.run([sys.executable, "-c", program], env=environment, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    with (tmp_path / "nni-experiments" / ".uxnet-launch.lock").open("w") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        started = time.monotonic()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert time.monotonic() - started < 30
