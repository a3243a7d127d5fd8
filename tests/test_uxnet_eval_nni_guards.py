"""Each guard of a trial and of the manager beside the defect of NNI 3.0 that it guards against."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
import warnings
from pathlib import Path

import pytest

from search_space.errors import UserError
from uxnet_eval import nni_guards
from uxnet_eval.nni_guards.manager import LOOPBACK_SCRIPT

# Results -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["scans//ct", "case#1"])
def test_nni_takes_a_part_of_a_result_for_a_comment(key: str) -> None:
    """The defect behind the rules for keys: the tuner's process cannot read the message, and dies."""
    import nni

    result = json.dumps({"trial_job_id": "abcde", "value": json.dumps({"default": 0.5, key: 0.1})})
    message = json.dumps({"type": "ME", "content": result})  # as the manager packs it
    with pytest.raises(ValueError, match="Unterminated string"):
        nni.load(message)
    with nni_guards.keep_urls_in_messages():
        assert nni.load(message)["content"] == result
    with pytest.raises(ValueError, match="Unterminated string"):  # the mend ends with the block
        nni.load(message)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"default": 0.5, "N1.0/normal": 0.1}, "N1.0/normal"),
        ({"default": 0.5, "case#1": 0.1}, "case#1"),
        ({"default": 0.5, 3: 0.1}, "key 3"),
        ({"default": 0.5, "": 0.1}, "key ''"),
        ({"N0.0-N0.1": 0.1}, "need a 'default'"),
        ({"default": {"dice": 0.5}}, "'default' is dict"),
        ({"default": 0.5, "edges": [0.1, 0.2]}, "'edges' is list"),
        ({"default": 0.5, "ok": True}, "'ok' is bool"),
        ({"default": 0.5, "note": "good"}, "'note' is str"),
    ],
)
def test_results_that_break_nni_are_errors(metrics: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        nni_guards.report_final(metrics)
    with pytest.raises(ValueError, match=re.escape(message)):
        nni_guards.report_intermediate(metrics)


def test_results_that_are_not_finite_do_not_end_a_run(caplog: pytest.LogCaptureFixture) -> None:
    import numpy as np

    found = nni_guards.report_final(
        {"default": float("nan"), "hd95_mm": float("inf"), "dice": np.float32(0.5)}
    )
    assert found == {"default": 0.0, "dice": 0.5}
    assert type(found["dice"]) is float  # NNI's JSON takes no NumPy scalars
    assert [("DIVERGED" in r.message.upper(), "hd95_mm" in r.message) for r in caplog.records] == [
        (True, False),
        (False, True),
    ]
    caplog.clear()
    nni_guards.report_intermediate({"default": 0.1, "hd95_mm": float("inf")})
    assert caplog.records == []  # warned of this key already


def test_results_reach_the_manager_from_within_a_nas_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """NNI's SequentialExecutionEngine puts its own channel and parameters (number 0) in place while a model runs."""
    import nni.trial
    from nni.runtime import trial_command_channel as channels
    from nni.runtime.trial_command_channel import TrialCommandChannel

    class Channel(TrialCommandChannel):
        def __init__(self) -> None:
            self.sent: list[tuple] = []

        def send_metric(self, type, parameter_id, trial_job_id, sequence, value) -> None:
            self.sent.append((type, parameter_id, sequence, value))

    manager, engine = Channel(), Channel()
    monkeypatch.setenv("NNI_PLATFORM", "local")
    monkeypatch.setenv("NNI_TRIAL_JOB_ID", "abcde")
    monkeypatch.setattr(nni_guards.trial, "_manager_channel", manager)
    monkeypatch.setattr(channels, "_channel", engine)
    monkeypatch.setattr(nni_guards.trial, "_manager_record", {"parameter_id": 7, "parameters": {}})
    monkeypatch.setattr(nni.trial, "_params", {"parameter_id": 0, "parameters": {}})
    monkeypatch.setattr(nni.trial, "_intermediate_seq", 0)
    nni_guards.resume_intermediate_sequence(3)
    nni_guards.report_intermediate({"default": 0.25})
    nni_guards.report_final({"default": 0.5})
    assert manager.sent == [("PERIODICAL", 7, 3, {"default": 0.25}), ("FINAL", 7, 0, {"default": 0.5})]
    assert engine.sent == []
    assert channels._channel is engine
    assert nni.trial._params["parameter_id"] == 0


def test_a_run_by_hand_needs_no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NNI_PLATFORM", "NNI_TRIAL_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    assert not nni_guards.is_nni_trial()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nni_guards.next_parameters() == {}
    assert nni_guards.report_final({"default": 0.5}) == {"default": 0.5}


# Parameters ----------------------------------------------------------------------------------------------------


def test_parameters_are_those_of_the_trials_own_record(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import nni
    import nni.trial

    def hand_over() -> dict:
        nni.trial._params = {"parameter_id": 1, "parameters": {"seed": 1}}
        return {"seed": 1}

    answers = [b"", b"{}", json.dumps({"hyperParameters": []}).encode()]  # before NNI has stored the trial
    record = {"parameter_id": 0, "parameters": {"seed": 0}, "parameter_index": 0}
    answers.append(json.dumps({"hyperParameters": [json.dumps(record)]}).encode())
    asked = _serve(monkeypatch, answers)
    monkeypatch.setattr(nni.trial, "_params", None)
    monkeypatch.setattr(nni, "get_next_parameter", hand_over)
    monkeypatch.setattr(nni_guards.trial.time, "sleep", lambda _seconds: None)
    monkeypatch.setenv("NNI_PLATFORM", "local")
    monkeypatch.setenv("NNI_TRIAL_JOB_ID", "abcde")
    monkeypatch.setenv(
        "NNI_TRIAL_COMMAND_CHANNEL", "http://uxnet:key@localhost:18000/prefix/env/local-env/abcde"
    )
    assert nni_guards.next_parameters() == {"seed": 0}
    assert nni.trial._params == record  # results go under the record's parameter_id
    assert set(asked) == {
        ("http://127.0.0.1:18000/prefix/api/v1/nni/trial-jobs/abcde", "Basic dXhuZXQ6a2V5")
    }  # uxnet:key
    assert "parameters of another trial" in caplog.text

    caplog.clear()
    _serve(monkeypatch, [b""])
    with pytest.raises(UserError, match=r"gave no parameters of this trial .* within 0 s"):
        nni_guards.next_parameters(timeout_s=0)

    monkeypatch.setenv("NNI_PLATFORM", "remote")  # there the channel is not the manager's
    assert nni_guards.next_parameters() == {"seed": 1}
    assert "cannot be checked" in caplog.text


def _serve(monkeypatch: pytest.MonkeyPatch, answers: list[bytes]) -> list[tuple[str, str]]:
    """Lets the manager's REST interface give ``answers`` one by one, the last for ever; returns what was asked."""
    import io

    asked: list[tuple[str, str]] = []
    left = list(answers)

    class Opener:
        def open(self, request: urllib.request.Request, timeout: float) -> io.BytesIO:
            asked.append((request.full_url, request.get_header("Authorization")))
            return io.BytesIO(left.pop(0) if len(left) > 1 else left[0])

    monkeypatch.setattr(urllib.request, "build_opener", lambda *_: Opener())
    return asked


# The output folder ---------------------------------------------------------------------------------------------


def test_tensorboard_events_lie_where_the_web_ui_looks(tmp_path: Path) -> None:
    output = tmp_path / "exp" / "environments" / "local-env" / "trials" / "abcde"
    output.mkdir(parents=True)
    events = nni_guards.link_tensorboard(output)
    assert events == output / "tensorboard"
    (events / "events").write_text("1")
    looked_at = tmp_path / "exp" / "trials" / "abcde" / "output" / "tensorboard"
    assert (looked_at / "events").read_text() == "1"
    assert nni_guards.link_tensorboard(output) == events  # again, after a resume
    (tmp_path / "exp").rename(tmp_path / "moved")  # an archived experiment keeps its link
    assert (tmp_path / "moved/trials/abcde/output/tensorboard/events").read_text() == "1"


def test_tensorboard_events_where_the_web_ui_made_its_folder_first(tmp_path: Path) -> None:
    output = tmp_path / "exp" / "environments" / "local-env" / "trials" / "abcde"
    output.mkdir(parents=True)
    looked_at = tmp_path / "exp" / "trials" / "abcde" / "output" / "tensorboard"
    looked_at.mkdir(parents=True)
    events = nni_guards.link_tensorboard(output)
    (events / "events").write_text("1")
    assert (looked_at / "events").read_text() == "1"
    assert (output / "tensorboard" / "events").read_text() == "1"
    assert nni_guards.link_tensorboard(output) == events


def test_tensorboard_events_by_hand_lie_in_the_output_folder(tmp_path: Path) -> None:
    assert nni_guards.link_tensorboard(tmp_path / "run") == tmp_path / "run" / "tensorboard"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def _holder(program: str, folder: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of a folder; it prints a line as soon as it does."""
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


def test_lock_keeps_an_orphan_and_its_successor_apart(tmp_path: Path) -> None:
    """The holder is killed; its forked worker, which lives on, must not keep the lock."""
    holder = _holder(_HOLD_THE_LOCK, tmp_path)
    assert holder.stdout is not None
    worker = int(holder.stdout.readline())
    try:
        with pytest.raises(UserError, match=f"process {holder.pid} still works in this folder"):
            nni_guards.TrialLock(tmp_path, wait_s=0).acquire()
        holder.kill()
        holder.wait()
        os.kill(worker, 0)  # it lives
        with nni_guards.TrialLock(tmp_path, wait_s=5) as lock:
            assert lock.path.read_text() == f"process {os.getpid()}\n"
    finally:
        holder.kill()
        os.kill(worker, 9)
        holder.stdout.close()


def test_a_trial_waits_for_the_orphan_as_long_as_that_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A trial that gave up would count as failed. By hand, a start says after a while who has the folder."""
    monkeypatch.setattr("uxnet_eval.nni_guards.trial_lock.PATIENCE_S", 0.3)
    holder = _holder(_HOLD_THE_LOCK_FOR_A_WHILE, tmp_path)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(UserError, match=f"process {holder.pid} still works in this folder; wait for it"):
        nni_guards.TrialLock(tmp_path).acquire()
    monkeypatch.setenv("NNI_PLATFORM", "local")
    monkeypatch.setenv("NNI_TRIAL_JOB_ID", "abcde")
    with caplog.at_level("INFO"), nni_guards.TrialLock(tmp_path):
        assert holder.wait(timeout=60) == 0  # it has ended by itself, not been pushed aside
    told = [line for line in caplog.messages if "waiting until it ends" in line]
    assert len(told) == 1 and f"process {holder.pid} still works in this folder" in told[0]
    holder.stdout.close()


_HOLD_THE_LOCK_FOR_A_WHILE = """
import sys, time
from uxnet_eval.nni_guards import TrialLock
with TrialLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(3)
"""
_HOLD_THE_LOCK = """
import os, sys, time
from uxnet_eval.nni_guards import TrialLock
lock = TrialLock(sys.argv[1]).acquire()
worker = os.fork()
if worker:
    print(worker, flush=True)
time.sleep(60)
"""


# The manager ---------------------------------------------------------------------------------------------------

_START_NNIS_WEB_SERVER = """
global.nniUnitTest = true;
require('app-module-path/register');
require('common/globals/unittest').resetGlobals();
const server = new (require('rest_server').RestServer)(0, '');
server.start().then(() => { console.log(server.server.address().address); process.exit(0); });
"""


def _node(script: str, environment: dict[str, str]) -> str:
    import nni_node

    folder = Path(nni_node.__path__[0])
    return subprocess.run(
        [str(folder / "node"), "-e", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_nnis_web_server_listens_on_this_machine_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _node(_START_NNIS_WEB_SERVER, dict(os.environ)) == "::"  # the defect: every interface
    assert _node(_START_NNIS_WEB_SERVER, nni_guards.manager_environment()) == "127.0.0.1"
    assert _node(_START_NNIS_WEB_SERVER, nni_guards.manager_environment(open_to_network=True)) == "::"


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        ("0", "127.0.0.1"),
        ("0, () => {}", "127.0.0.1"),
        ("0, undefined, () => {}", "127.0.0.1"),
        ("0, 511, () => {}", "127.0.0.1"),
        ("'0'", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("() => {}", "127.0.0.1"),
        ("{port: 0}", "127.0.0.1"),
        ("{port: 0, host: '127.0.0.2'}", "127.0.0.2"),  # a host that somebody chose
        ("0, '127.0.0.2'", "127.0.0.2"),
    ],
)
def test_every_way_to_listen(arguments: str, address: str) -> None:
    script = (
        f"const s = require('http').createServer(); s.on('listening', () => {{ console.log(s.address().address); \
        process.exit(0); }}); s.listen({arguments});"
    )
    assert _node(script, nni_guards.manager_environment()) == address


def test_tensorboard_is_started_for_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "tensorboard"
    fake.write_text('#!/bin/sh\necho "$@" $UXNET_DOOR_TOKEN\n')
    fake.chmod(0o755)
    # As NNI does: for a shell, two options in one argument.
    script = """require('child_process').spawn(
        'tensorboard', ['--bind_all --logdir_spec=0-a:/x', '--port=6006; reboot'], {shell: true, stdio: 'inherit'});"""
    environment = nni_guards.manager_environment()
    environment["UXNET_DOOR_PYTHON"] = str(fake)
    program, *arguments = _node(script, environment).split(" ")
    assert Path(program) == LOOPBACK_SCRIPT.with_name("guarded_tensorboard.py")
    assert arguments == [
        "--host=127.0.0.1",
        "--logdir_spec=0-a:/x",
        "--port=6006;",
        "reboot",
        environment["UXNET_DOOR_TOKEN"],
    ]  # no shell


def test_trials_get_the_users_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UXNET_DATA", raising=False)  # the tests' own
    monkeypatch.setenv("NODE_OPTIONS", "--max-http-header-size=9000")
    monkeypatch.setenv("NO_PROXY", "intern.example")
    monkeypatch.setenv("NETRC", "/mine")
    environment = nni_guards.manager_environment()
    assert environment["NODE_OPTIONS"] == f'--require "{LOOPBACK_SCRIPT}" --max-http-header-size=9000'
    assert environment["NO_PROXY"] == "intern.example,localhost,127.0.0.1"
    assert environment["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert environment["VIRTUAL_ENV"] == str(Path(sys.executable).parents[1])
    inherited = _node(
        "console.log(process.env.NODE_OPTIONS, process.env.NETRC, "
        "Object.keys(process.env).filter((name) => name.startsWith('UXNET')))",
        environment,
    )
    assert inherited == "--max-http-header-size=9000 /mine []"


def test_only_the_two_warnings_of_nnis_import_are_silenced() -> None:
    script = """
import warnings
warnings.simplefilter("error")
from uxnet_eval.nni_guards import quiet_nni_import
quiet_nni_import()
def warn(message, module="nni.nas.nn.pytorch.layers"):
    warnings.warn_explicit(message, RuntimeWarning, "layers.py", 94, module)
warn("<class 'torch.nn.parameter.Buffer'> is found to be not a nn.Module, which is unexpected.")
for message, module in [
    ("<class 'torch.nn.Other'> is found to be not a nn.Module", "nni.nas.nn.pytorch.layers"),
    ("<class 'torch.nn.parameter.Buffer'> is found to be not a nn.Module", "elsewhere"),
]:
    try:
        warn(message, module)
    except RuntimeWarning:
        continue
    raise SystemExit("silenced: " + message)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[1])
