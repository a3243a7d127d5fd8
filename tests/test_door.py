"""The door of NNI's manager, on the script alone before a small server: who gets in, and to what."""

from __future__ import annotations

import contextlib
import hmac
import http.client
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from basic_auth import basic
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from uxnet_eval.nni_guards.door import netrc_text, page_address, read_token
from uxnet_eval.nni_guards.guarded_tensorboard import behind_door
from uxnet_eval.nni_guards.manager import manager_environment

# A web server such as NNI's, and the environment that a child of it gets.
SERVER = """
const http = require('http');
const { WebSocketServer } = require('ws');
const server = http.createServer((request, response) => response.end('let in'));
new WebSocketServer({ server }).on('connection', (socket) => socket.send('let in'));
const own = Number(process.argv[process.argv.indexOf('--port') + 1]);
http.createServer((request, response) => response.end('a runner')).listen(own + 1);
server.listen(own, () => {
    const { port } = server.address();
    const env = {
        ...process.env,
        NNI_TUNER_COMMAND_CHANNEL: `ws://localhost:${port}/prefix/tuner`,
        NNI_TRIAL_COMMAND_CHANNEL: `http://localhost:${port}/prefix/env/local-env/abcde`,
    };
    require('child_process').spawn('env | sort', { shell: true, env, stdio: ['ignore', 'inherit', 'inherit'] })
        .on('close', () => console.log(`port ${port}`));
});
"""


@dataclass(frozen=True)
class Door:
    port: int
    token: str
    folder: Path
    child: dict[str, str]

    def ask(
        self,
        path: str,
        method: str = "GET",
        token: str | None = None,
        body: str | None = None,
        **headers: str,
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """Status, headers and text of the answer; headers by name, ``_`` for ``-``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = basic(token)
        with contextlib.closing(connection):
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def cookie(self) -> str:
        _, headers, _ = self.ask(f"/?token={self.token}")
        return headers["Set-Cookie"].split(";")[0]

    @property
    def trial_key(self) -> str:
        return self.child["NNI_TRIAL_COMMAND_CHANNEL"].split("uxnet:")[1].split("@")[0]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with _started(tmp_path_factory.mktemp("door"), manager_environment()) as door:
        yield door


@pytest.fixture(scope="module")
def open_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Of ``uxnet launch --open-to-network``."""
    with _started(tmp_path_factory.mktemp("open"), manager_environment(open_to_network=True)) as door:
        yield door


@contextlib.contextmanager
def _started(folder: Path, environment: dict[str, str]) -> Iterator[Door]:
    import nni_node

    nni = Path(nni_node.__path__[0])
    own = _two_free_ports()
    script = folder / "server.js"
    script.write_text(SERVER)
    with subprocess.Popen(
        [
            *(nni / "node", script, "--port", str(own)),
            *("--experiment-id", "abc", "--experiments-directory", folder),
        ],
        env={**environment, "NODE_PATH": str(nni / "node_modules")},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            lines = []
            while not lines or not lines[-1].startswith("port "):
                lines.append(process.stdout.readline().strip())
                assert lines[-1] or process.poll() is None
            child = dict(line.split("=", 1) for line in lines[:-1] if "=" in line)
            yield Door(int(lines[-1].split()[1]), environment["UXNET_DOOR_TOKEN"], folder / "abc", child)
        finally:
            process.kill()


def _two_free_ports() -> int:
    """A port that is free, as the one after it is."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


def test_nobody_gets_in_without_the_token(door: Door) -> None:
    status, _, text = door.ask("/api/v1/nni/experiment")
    assert status == 401 and "uxnet launch --resume ID" in text
    assert door.ask("/", token="")[0] == door.ask("/", token="wrong")[0] == 401
    assert door.ask("/?token=wrong")[0] == door.ask("/", Cookie="uxnet-000000000000=wrong")[0] == 401
    assert door.ask("/", token=door.token)[2] == "let in"
    assert door.ask("/manifest.json")[0] == 200  # browsers fetch it without cookies
    assert door.ask("/logs/manifest.json")[0] == door.ask("/manifest.json", "POST")[0] == 401


def test_the_first_visit_leaves_a_cookie_that_no_script_and_no_other_site_can_use(door: Door) -> None:
    status, headers, text = door.ask(f"/logs/report.html?token={door.token}&x=%22%3E")
    assert status == 200 and "let in" not in text and door.token not in text
    assert 'content="0;url=/logs/report.html?x=%22%3E"' in text
    cookie, *attributes = headers["Set-Cookie"].split("; ")
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict"]
    assert door.token not in cookie
    assert door.ask("/logs/report.html", Cookie=f"other=1; {cookie}")[2] == "let in"
    assert 'url=/evil.example"' in door.ask(f"//evil.example?token={door.token}")[2]  # stays on this server


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "", "10.0.0.1"]
)
def test_a_rebound_name_is_refused(door: Door, host: str) -> None:
    assert door.ask("/", token=door.token, Host=host)[0] == 403
    assert door.ask("/", Cookie=door.cookie(), Host=host)[0] == 403


def test_open_to_the_network_the_token_is_still_wanted(open_door: Door) -> None:
    name = {"Host": "workstation.example:8080"}  # what the browser of another machine asks for
    assert open_door.ask("/", **name)[0] == open_door.ask("/api/v1/nni/experiment", **name)[0] == 401
    assert open_door.ask("/", token="wrong", **name)[0] == 401
    assert open_door.ask("/", token=open_door.token, **name)[2] == "let in"
    _, headers, _ = open_door.ask(f"/?token={open_door.token}", **name)
    cookie = headers["Set-Cookie"].split(";")[0]
    assert open_door.ask("/", Cookie=cookie, **name)[2] == "let in"
    assert open_door.ask("/", Cookie=cookie, Origin="http://workstation.example:8080", **name)[2] == "let in"
    for origin in ("http://evil.example", "http://workstation.example:80", "null"):
        assert open_door.ask("/", token=open_door.token, Origin=origin, **name)[0] == 403
    assert open_door.ask("/..%2f..%2fetc/passwd", token=open_door.token, **name)[0] == 400
    for origin in ({}, {"origin": "http://evil.example"}):
        with pytest.raises(InvalidStatus, match=r"40[13]"):
            connect(f"ws://127.0.0.1:{open_door.port}/prefix/tuner", **origin)
    tensorboard = behind_door(lambda environ, start: [b"in"], "token", "uxnet-x=secret", is_open=True)
    asked = {"HTTP_HOST": name["Host"]}
    assert tensorboard({**asked, "HTTP_COOKIE": "uxnet-x=secret"}, lambda *_: None) == [b"in"]
    assert tensorboard(asked, lambda *_: None) != [b"in"]
    foreign = {**asked, "HTTP_COOKIE": "uxnet-x=secret", "HTTP_ORIGIN": "http://evil.example"}
    assert tensorboard(foreign, lambda *_: None) != [b"in"]


def test_open_to_the_network_nnis_runners_report_to_the_next_port_and_web_pages_do_not(
    open_door: Door, door: Door
) -> None:
    runners = Door(open_door.port + 1, open_door.token, open_door.folder, {})
    assert runners.ask("/", Host="workstation.example:8081")[2] == "a runner"
    assert runners.ask("/", Origin="http://evil.example")[0] == 403
    assert Door(door.port + 1, door.token, door.folder, {}).ask("/")[0] == 401  # not open: the token


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:9", "[::1]:80", "LOCALHOST"])
def test_names_of_this_machine_are_not_also_at_the_port_of_a_tunnel(door: Door, host: str) -> None:
    assert door.ask("/", token=door.token, Host=host)[0] == 200


def test_a_foreign_page_is_refused_even_with_the_cookie(door: Door) -> None:
    cookie = door.cookie()
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", f"https://127.0.0.1:{door.port}"):
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            status, _, _ = door.ask(
                "/api/v1/nni/trial-jobs",
                method,
                body="{}",
                Cookie=cookie,
                Origin=origin,
                Content_Type="text/plain",
            )
            assert status == 403
    for site in ("cross-site", "same-site"):  # an image, a script: without Origin
        assert door.ask("/", Cookie=cookie, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors")[0] == 403
        assert (
            door.ask("/", Cookie=cookie, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")[0] == 200
        )  # a link
        assert door.ask("/", "POST", Cookie=cookie, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")[0] == 403
    own = f"http://127.0.0.1:{door.port}"
    assert door.ask("/", "POST", body="{}", Cookie=cookie, Origin=own, Sec_Fetch_Site="same-origin")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/nni/trial-file/abcde/..%2f..%2f..%2fetc%2fpasswd",
        "/api/v1/nni/trial-file/abcde/..%2F..%2Fx",
        "/api/v1/nni/trial-file/../x",
        "/api/v1/nni/trial-file/%2e%2e/x",
        "/api/v1/nni/trial-file/abcde/..%5cx",
        "/api/v1/nni/trial-file/abcde/%2fetc%2fpasswd",
        "/logs/..%2fdb%2fnni.sqlite",
        "/x%00",
        "/x%ff",
        "http://127.0.0.1/absolute",
    ],
)
def test_paths_that_leave_their_folder_are_refused(door: Door, path: str) -> None:
    assert door.ask(path, token=door.token)[0] == 400


def test_websockets_need_the_token_too(door: Door) -> None:
    def try_to_connect(path: str, password: str | None, **headers: str) -> int:
        given = dict(headers) if password is None else {**headers, "Authorization": basic(password)}
        try:
            with connect(
                f"ws://127.0.0.1:{door.port}{path}", additional_headers=given, proxy=None
            ) as socket_:
                return 101 if socket_.recv() == "let in" else 0
        except InvalidStatus as error:
            return error.response.status_code

    assert try_to_connect("/tuner", None) == 401
    assert try_to_connect("/tuner", "wrong") == 401
    assert try_to_connect("/tuner", door.trial_key) == 401
    assert try_to_connect("/tuner", door.token, Origin="http://evil.example") == 403
    assert try_to_connect(f"/tuner?token={door.token}", None) == 403  # a token in an address is for pages
    assert try_to_connect("/tuner", door.token) == 101
    with connect(
        door.child["NNI_TUNER_COMMAND_CHANNEL"].replace("localhost", "127.0.0.1"), proxy=None
    ) as own:
        assert own.recv() == "let in"  # as NNI's dispatcher does


def test_a_machine_can_reach_its_own_channel_and_nothing_else(door: Door) -> None:
    key = hmac.new(door.token.encode(), b"channel machine 1", "sha256").hexdigest()
    assert door.ask("/platform/remote/1", token=key)[0] == 200
    assert door.ask("/prefix/platform/remote/1", token=key)[0] == 200
    for path in (
        "/platform/remote/2",
        "/platform/remote",
        "/platform/remote/1/logs",
        "/tuner",
        "/env/local-env/machine%201",
        "/api/v1/nni/trial-jobs/machine%201",
        "/api/v1/nni/experiment",
    ):
        assert door.ask(path, token=key)[0] == 401, path
    trial = door.ask("/platform/remote/1", token=door.trial_key)
    assert trial[0] == 401


def test_a_trial_can_reach_its_own_channel_and_nothing_else(door: Door) -> None:
    import requests

    assert (
        requests.put(door.child["NNI_TRIAL_COMMAND_CHANNEL"], json={}).text == "let in"
    )  # as NNI's client does
    key = door.trial_key
    assert door.ask("/prefix/api/v1/nni/trial-jobs/abcde", token=key)[0] == 200
    for method, path in (
        ("GET", "/prefix/env/local-env/other"),
        ("GET", "/api/v1/nni/trial-jobs/other"),
        ("DELETE", "/api/v1/nni/trial-jobs/abcde"),
        ("GET", "/api/v1/nni/experiment"),
        ("GET", "/api/v1/nni/trial-file/abcde/stdout"),
        ("GET", "/"),
    ):
        assert door.ask(path, method, token=key)[0] == 401
    assert not [value for value in door.child.values() if door.token in value]


def test_the_token_lies_in_the_folder_for_its_user_alone(door: Door) -> None:
    file = door.folder / ".netrc"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == netrc_text(door.token)
    assert read_token(door.folder) == door.token
    assert page_address(80, door.folder, "/x") == f"http://127.0.0.1:80/x?token={door.token}"
    assert read_token(door.folder.parent) is None
    assert page_address(80, door.folder.parent) == "http://127.0.0.1:80/"


def test_requests_present_the_token_file_by_themselves(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NNI's command line does: NETRC=FOLDER/.netrc nnictl trial ls."""
    import requests

    address = f"http://localhost:{door.port}/api/v1/nni/trial-jobs"
    assert requests.get(address).status_code == 401
    monkeypatch.setenv("NETRC", str(door.folder / ".netrc"))
    assert requests.get(address).text == "let in"
