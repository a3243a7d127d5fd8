"""The command line: exit codes, one-line errors, and what each command hands to its function."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from search_space import Genotype, presets
from search_space.errors import UserError
from uxnet_eval import cli
from uxnet_eval.config.overrides import parse_overrides
from uxnet_eval.config.search import RunConfig

ROOT = Path(__file__).parents[1]
COMMANDS = (
    *("check", "plan", "demo-data", "search", "launch", "demo", "front", "latency", "export", "draw"),
    *("report", "train", "predict", "evaluate", "derive", "contest", "compare", "experiments"),
    *("auto", "table", "convert"),
    *("status", "cancel"),  # in test_uxnet_eval_slurm.py
)
SEVERAL = {"export": ("export", "export_formats")}
"""Commands of more than one file."""
USUAL_PATH = ("check", "auto", "report", "predict", "evaluate")


def uxnet(*arguments: str | Path, prelude: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the command line as a process of its own, after the Python statements in ``prelude``."""
    script = f"{prelude}\nfrom uxnet_eval.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )


class Launched:
    """What :func:`uxnet_eval.nni_experiments.launch.launch` returns, as far as the command line looks at it."""

    experiment_id, url, folder = "AbCd1234", "http://127.0.0.1:9000/?token=t", Path("nni/AbCd1234")
    report_url = "http://127.0.0.1:9000/logs/report.html?token=t"
    machines = ()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Replaces the functions behind the commands; what they were called with."""
    seen: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    for module_name, function in (
        ("search.run", "run_search"),
        ("drawing", "draw_genotype_file"),
        ("dataset.demo_data", "make_demo_data"),
    ):

        def record(*args: Any, _name: str = function, **kwargs: Any) -> None:
            seen.append((_name, args, kwargs))

        replace_module(monkeypatch, module_name, {function: record})

    def start(*args: Any, **kwargs: Any) -> Launched:
        seen.append(("launch", args, kwargs))
        return Launched()

    def go_on(*args: Any, **kwargs: Any) -> Launched:
        seen.append(("resume", args, kwargs))
        return Launched()

    def find(*args: Any, **kwargs: Any) -> tuple[Genotype, None]:
        seen.append(("export_genotype", args, kwargs))
        return presets.get("unet", 3), None

    replace_module(monkeypatch, "nni_experiments.launch", {"launch": start, "resume": go_on})
    replace_module(monkeypatch, "search.export", {"export_genotype": find})
    return seen


def replace_module(monkeypatch: pytest.MonkeyPatch, name: str, functions: dict[str, Any]) -> None:
    module = ModuleType(f"uxnet_eval.{name}")
    vars(module).update(functions)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    package, _, leaf = module.__name__.rpartition(".")
    monkeypatch.setattr(importlib.import_module(package), leaf, module, raising=False)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)


def test_help_lists_every_command_within_a_second_or_so() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = uxnet("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, which a busy machine stretches little: 0.3 s; PyTorch alone would take longer than this.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5
    assert run.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in run.stdout


def test_uxnet_alone_shows_the_usual_path_first() -> None:
    run = uxnet()
    places = [run.stdout.index(f"│ {command} ") for command in USUAL_PATH]
    assert places == sorted(places)
    others = [run.stdout.index(f"│ {command} ") for command in COMMANDS if command not in USUAL_PATH]
    assert max(places) < min(others)
    assert "--install-completion" in run.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"Example: uxnet {command}" in result.output


def test_version_is_printed() -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    assert result.output.startswith("uxnet")


def test_user_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    run = uxnet("check", tmp_path / "absent")
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith("uxnet: error: ")
    assert run.stderr.count("\n") == 1


def test_surprise_keeps_its_traceback() -> None:
    run = uxnet(
        "check", "DATA", prelude="import uxnet_eval.dataset.find as r; r.find_dataset = lambda data: 1 / 0"
    )
    assert run.returncode == 1
    assert "Traceback (most recent call last)" in run.stderr
    assert run.stderr.rstrip().endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize("arguments", [("check",), ("serch",), ("search", "--confg", "x.run.yml")])
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    run = uxnet(*arguments)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


def test_interrupt_is_one_line_and_exit_code_130() -> None:
    prelude = (
        "import os, signal\nimport uxnet_eval.dataset.find as r\n"
        "r.find_dataset = lambda data: os.kill(os.getpid(), signal.SIGINT)"
    )
    run = uxnet("check", "DATA", prelude=prelude)
    assert run.returncode == 130
    assert run.stderr == "uxnet: interrupted\n"


def test_interrupted_trial_dies_of_the_signal() -> None:
    """NNI takes every exit code but 0 for a failure, and a signal for what it is."""
    prelude = (
        "import os, signal\nimport uxnet_eval.dataset.find as r\n"
        "os.environ |= {'NNI_PLATFORM': 'local', 'NNI_TRIAL_JOB_ID': 'abcde'}\n"
        "r.find_dataset = lambda data: os.kill(os.getpid(), signal.SIGINT)"
    )
    run = uxnet("check", "DATA", prelude=prelude)
    assert run.returncode == -signal.SIGINT
    assert run.stderr == "uxnet: interrupted\n"


def test_missing_package_names_the_interpreter() -> None:
    run = uxnet("--help", prelude="import sys; sys.modules['typer'] = None")
    assert run.returncode == 1
    assert run.stderr.startswith(f"uxnet: error: {sys.executable} has no package 'typer'")
    assert run.stderr.count("\n") == 1


def test_parse_overrides_reads_yaml_values() -> None:
    settings = ["epochs=5", "sparsity_weight=1e-3", "patch_size=[64, 64, 32]", "folded=false", "device=cpu"]
    assert parse_overrides(settings) == {
        "epochs": 5,
        "sparsity_weight": 0.001,  # a string to YAML 1.1
        "patch_size": [64, 64, 32],
        "folded": False,
        "device": "cpu",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["epochs"], "expected NAME=VALUE"),
        (["=5"], "expected NAME=VALUE"),
        (["epochs=5", "epochs=6"], "'epochs' is set twice"),
        (["strides=[[2, 2"], "not YAML"),
    ],
)
def test_parse_overrides_refuses(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_overrides(settings)


def test_search_hands_over_its_options(calls: list[Any], tmp_path: Path) -> None:
    output = tmp_path / "out"
    invoke("search", "--config", "a.run.yml", "--output", str(output), "--set", "epochs=5", "--set", "seed=1")
    invoke("search", "--config", "a.run.yml", "--from-checkpoint", "b/checkpoint.ckpt")
    given = {"output": output, "overrides": {"epochs": 5, "seed": 1}, "from_checkpoint": None}
    begun = {"output": None, "overrides": {}, "from_checkpoint": Path("b/checkpoint.ckpt")}
    assert calls == [("run_search", (Path("a.run.yml"),), each) for each in (given, begun)]


def test_launch_hands_over_its_options_and_prints_where_things_are(calls: list[Any]) -> None:
    result = invoke("launch", "a.yml", "--port", "9000", "--wait", "--experiment-dir", "nni")
    options = {"port": 9000, "wait": True, "experiment_dir": Path("nni"), "open_to_network": False}
    assert calls == [("launch", (Path("a.yml"),), options)]
    for part in ("AbCd1234", "http://127.0.0.1:9000", "nni/AbCd1234", "nnictl stop AbCd1234"):
        assert part in result.output


def test_launch_writes_the_papers_table_at_the_end(
    calls: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[list[str], Path]] = []
    monkeypatch.setattr(
        "uxnet_eval.commands.table.print_and_write", lambda *arguments: written.append(arguments)
    )
    early = invoke("launch", "a.yml", "--table", str(tmp_path / "out"))
    assert early.exit_code == 2 and not calls  # nothing was started
    folder = tmp_path / "tables" / "out"
    result = invoke("launch", "a.yml", "--wait", "--table", str(folder))
    assert result.exit_code == 0, result.output
    assert written == [(["AbCd1234"], folder)] and folder.is_dir()


def test_launch_starts_nothing_if_the_table_cannot_be_written(calls: list[Any], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; give another output folder"):
        invoke("launch", "a.yml", "--wait", "--table", str(tmp_path / "file"))
    assert not calls


def test_launch_resumes(calls: list[Any]) -> None:
    invoke("launch", "--resume", "AbCd1234", "--open-to-network")
    assert calls == [("resume", ("AbCd1234",), {"port": None, "wait": False, "open_to_network": True})]


@pytest.mark.parametrize(
    "arguments", [(), ("a.yml", "--resume", "AbCd1234"), ("--resume", "AbCd1234", "--experiment-dir", "nni")]
)
def test_launch_wants_one_thing_to_start(arguments: tuple[str, ...], calls: list[Any]) -> None:
    assert invoke("launch", *arguments).exit_code == 2
    assert calls == []


def test_export_hands_over_its_options_and_writes_the_genotype(calls: list[Any], tmp_path: Path) -> None:
    output = tmp_path / "genotype.json"
    result = invoke("export", "AbCd1234", "-o", str(output))
    assert "7 of 11 edges, 6 nodes" in result.output  # U-Net: 2 + 3 + 2; grid: 3 + 6 + 2
    assert Genotype.load(output) == presets.get("unet", 3)
    options = ("--prune-threshold", "0.6", "--trial", "t", "--by", "derived_dice", "--force")
    invoke("export", "runs/first", "-o", str(output), *options)
    unlimited = {"max_multiply_adds": None, "max_parameters": None, "max_latency_ms": None}
    assert calls == [
        (
            "export_genotype",
            ("AbCd1234",),
            {"prune_threshold": None, "trial": None, "by": "default"} | unlimited,
        ),
        (
            "export_genotype",
            ("runs/first",),
            {"prune_threshold": 0.6, "trial": "t", "by": "derived_dice"} | unlimited,
        ),
    ]


def test_export_keeps_an_existing_file(calls: list[Any], tmp_path: Path) -> None:
    output = tmp_path / "genotype.json"
    output.write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        invoke("export", "AbCd1234", "-o", str(output))
    assert calls == []
    invoke("export", "AbCd1234", "-o", str(output), "--force")
    assert len(calls) == 1


def test_export_into_an_absent_folder_is_refused(calls: list[Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        invoke("export", "AbCd1234", "-o", str(tmp_path / "absent" / "genotype.json"))
    assert calls == []


def test_draw_and_demo_data_hand_over_their_options(calls: list[Any]) -> None:
    invoke("draw", "g.json", "-o", "g.svg", "--dims", "2")
    invoke("demo-data", "d", "--cases", "5", "--dims", "2", "--channels", "2", "--anisotropic", "--seed", "3")
    settings = {"num_cases": 5, "spatial_dims": 2, "num_channels": 2, "anisotropic": True, "seed": 3}
    assert calls == [
        ("draw_genotype_file", (Path("g.json"), Path("g.svg")), {"spatial_dims": 2}),
        ("make_demo_data", (Path("d"),), settings),
    ]


def test_check_names_what_few_cases_are_enough_for(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    assert invoke("demo-data", str(folder), "--cases", "4").exit_code == 0
    lines = invoke("check", str(folder)).output.splitlines()
    assert lines[0].startswith(f"note: {folder}: found 4 training cases, uxnet auto needs at least 5")
    assert lines[-1] == f"{folder}: no fault found; next: uxnet plan {folder} -o mine.run.yml"
    path = tmp_path / "mine.run.yml"
    lines = invoke("plan", str(folder), "-o", str(path)).output.splitlines()
    assert lines[0].startswith("note: no fold is left out of plan and search: ")
    assert RunConfig.load(path).search.left_out_fold is None


def test_check_lists_every_fault_and_exits_with_1(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    assert invoke("demo-data", str(folder), "--cases", "5").exit_code == 0
    good = invoke("check", str(folder))
    assert (good.exit_code, good.output) == (
        0,
        f"{folder}: no fault found; next: uxnet auto {folder} -o runs/auto --hours 2\n",
    )
    images = sorted((folder / "imagesTr").glob("*.nii.gz"))
    images[0].unlink()
    images[2].write_bytes(images[2].read_bytes()[:200])
    bad = invoke("check", str(folder))
    lines = bad.output.splitlines()
    assert bad.exit_code == 1
    assert [line.split(":")[0] for line in lines[:2]] == ["demo_000", "demo_002"]
    assert lines[2:] == [f"{folder}: 2 faults found; next: mend them, then uxnet check {folder} again"]


def test_plan_keeps_an_existing_file(tmp_path: Path) -> None:
    (tmp_path / "mine.run.yml").write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        invoke("plan", str(tmp_path), "-o", str(tmp_path / "mine.run.yml"))


def test_every_command_is_tested_here() -> None:
    everything = (*cli.app.registered_commands, *cli.app.registered_groups)
    registered = {command.name for command in everything if command.hidden is not True}
    assert registered == set(COMMANDS)


def test_typer_reports_ctrl_c_as_130() -> None:
    # cli.main() counts on it to print its line; a typer that behaves otherwise shows here.
    app = typer.Typer()

    @app.command()
    def stop() -> None:
        signal.raise_signal(signal.SIGINT)

    assert CliRunner().invoke(app, []).exit_code == 130


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_to_type_next(command: str) -> None:
    for name in SEVERAL.get(command, (command.replace("-", "_"),)):
        source = (ROOT / "uxnet_eval" / "commands" / f"{name}.py").read_text()
        assert "next: " in source, name
