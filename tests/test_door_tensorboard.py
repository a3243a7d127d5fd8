"""The door of TensorBoard: it wants the token of NNI's page, and ends with NNI's manager."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from basic_auth import basic

from uxnet_eval.nni_guards.guarded_tensorboard import behind_door


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"HTTP_HOST": "127.0.0.1:6006", "HTTP_COOKIE": "a=1; uxnet-x=secret"}, "200"),
        ({"HTTP_HOST": "localhost", "HTTP_AUTHORIZATION": basic("token")}, "200"),
        ({"HTTP_HOST": "127.0.0.1:6006"}, "401"),
        ({"HTTP_HOST": "127.0.0.1:6006", "HTTP_COOKIE": "uxnet-x=wrong"}, "401"),
        ({"HTTP_HOST": "evil.example", "HTTP_COOKIE": "uxnet-x=secret"}, "403"),
        ({"HTTP_COOKIE": "uxnet-x=secret"}, "403"),
        ({"HTTP_HOST": "localhost:6006", "HTTP_ORIGIN": "null", "HTTP_COOKIE": "uxnet-x=secret"}, "403"),
    ],
)
def test_tensorboard_is_behind_the_door_too(headers: dict[str, str], status: str) -> None:
    said: list[str] = []

    def app(_environ: object, start_response: object) -> list[bytes]:
        said.append("200")
        return [b"curves"]

    body = behind_door(app, "token", "uxnet-x=secret")(headers, lambda line, _headers: said.append(line[:3]))
    assert said == [status]
    assert (body == [b"curves"]) == (status == "200")


@pytest.mark.slow
def test_tensorboard_ends_with_the_manager_that_is_killed(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = Path(behind_door.__code__.co_filename)
    manager = subprocess.Popen(  # starts it as the manager does, in a session of its own
        [
            sys.executable,
            "-c",
            "import os, subprocess, sys, time\n"
            "os.environ['UXNET_DOOR_PARENT'] = str(os.getpid())\n"
            "child = subprocess.Popen(sys.argv[1:], start_new_session=True)\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(600)",
            *(sys.executable, script, "--host=127.0.0.1", f"--logdir={tmp_path}", f"--port={port}"),
        ],
        env={
            **os.environ,
            "UXNET_DOOR_TOKEN": "token",
            "UXNET_DOOR_COOKIE": "uxnet-x=secret",
            "UXNET_DOOR_OPEN": "0",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert manager.stdout is not None
    pid = int(manager.stdout.readline())
    try:
        assert _ask_tensorboard(port, "127.0.0.1", "token") == (200, [])
        assert _ask_tensorboard(port, "evil.example", "token")[0] == 403
        assert _ask_tensorboard(port, "127.0.0.1", "wrong")[0] == 401
    finally:
        manager.kill()
        manager.communicate()
    deadline = time.monotonic() + 10
    while (
        Path(f"/proc/{pid}").exists()
        and Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    ):
        assert time.monotonic() < deadline, "TensorBoard outlived the manager"
        time.sleep(0.1)


def _ask_tensorboard(port: int, host: str, password: str) -> tuple[int, object]:
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            with contextlib.closing(connection):
                headers = {"Host": host, "Authorization": basic(password)}
                connection.request("GET", "/data/runs", headers=headers)
                answer = connection.getresponse()
                text = answer.read()
                return answer.status, json.loads(text) if answer.status == 200 else text
        except ConnectionError:
            assert time.monotonic() < deadline, "TensorBoard does not start"
            time.sleep(0.2)
