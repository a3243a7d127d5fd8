"""NNI's manager on a busy machine: nnictl and the tuner are waited for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nni_node
import pytest

from uxnet_eval.nni_guards.manager import manager_environment

# A manager that is ready after a second, and who asks it at once.
STARTING = """
const http = require('http');
const started = Date.now();
const server = http.createServer((request, response) => {
    request.url = 'changed by a router';
    response.end(Date.now() - started < 1000 ? 'INITIALIZING' : '{"status":"INITIALIZED"}');
});
server.listen(0, () => {
    const headers = { Authorization: 'Basic ' + Buffer.from('uxnet:' + process.argv[2]).toString('base64') };
    const path = '/prefix/api/v1/nni/check-status';
    http.get({ host: '127.0.0.1', port: server.address().port, path, headers }, (answer) => {
        answer.on('data', (text) => { console.log(String(text)); process.exit(0); });
    });
});
"""
# A tuner that connects after eleven seconds, with a clock that runs a hundred times as fast.
LATE_TUNER = """
global.nniUnitTest = true;
const wait = global.setTimeout;
global.setTimeout = (callback, milliseconds, ...rest) => wait(callback, (milliseconds || 0) / 100, ...rest);
require('app-module-path/register');
require('common/globals/unittest').resetGlobals();
const server = require('core/tuner_command_channel').getTunerServer();
setTimeout(() => server.connect.resolve(), 11000);
server.init().then(() => { console.log('connected'); process.exit(0); },
                   (error) => { console.log(error.message); process.exit(0); });
"""


def _node(tmp_path: Path, script: str, guarded: bool) -> str:
    folder = Path(nni_node.__path__[0])
    environment = manager_environment() if guarded else dict(os.environ)
    file = tmp_path / "script.js"
    file.write_text(script)
    return subprocess.run(
        [str(folder / "node"), str(file), environment.get("UXNET_DOOR_TOKEN", "")],
        cwd=folder,
        env={**environment, "NODE_PATH": f"{folder}:{folder / 'node_modules'}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()


@pytest.mark.parametrize(("guarded", "answer"), [(False, "INITIALIZING"), (True, '{"status":"INITIALIZED"}')])
def test_nnictl_waits_until_the_manager_is_ready(tmp_path: Path, guarded: bool, answer: str) -> None:
    """nnictl expects JSON and fails at the other answer."""
    assert _node(tmp_path, STARTING, guarded) == answer


@pytest.mark.parametrize(
    ("guarded", "answer"), [(False, "Tuner did not connect in 10 s"), (True, "connected")]
)
def test_the_manager_waits_for_a_tuner_that_is_late(tmp_path: Path, guarded: bool, answer: str) -> None:
    assert answer in _node(tmp_path, LATE_TUNER, guarded)


# What the manager's main.js loads, in its order: every guard of a module must outlive the others.
ALL_GUARDS = """
global.nniUnitTest = true;
require('app-module-path/register');
require('common/globals/unittest').resetGlobals();
require('core/tuner_command_channel');
const { NNITensorboardManager } = require('extensions/nniTensorboardManager');
const manager = { nniManager: { getTrialJob: async (id) => (id === 'known' ? {} : undefined) } };
const start = (trials) => NNITensorboardManager.prototype.startTensorboardTask.call(manager, { trials });
(async () => {
    for (const trials of ['../x', 'a;b', 'unknown', 'known,../x', '', 3]) {
        await start(trials).then(() => console.log('started'), (error) => console.log(error.message));
    }
    await start('known').catch((error) => console.log(error instanceof TypeError ? 'passed on' : error.message));
    process.exit(0);
})();
"""


def test_tensorboard_takes_names_of_trials_alone(tmp_path: Path) -> None:
    refused = "trials must name trials of this experiment, separated by commas"
    assert _node(tmp_path, ALL_GUARDS, True).splitlines() == [refused] * 6 + ["passed on"]
