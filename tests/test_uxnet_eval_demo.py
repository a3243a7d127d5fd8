"""The demo's own parts; the whole of it runs in test_wheel.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from search_space.errors import UserError
from uxnet_eval import demo
from uxnet_eval.auto.fitting import TooFewHours
from uxnet_eval.auto.record import AutoRecord
from uxnet_eval.cli import app


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The hours of every start of ``uxnet auto``, which refuses fewer than 0.2."""
    hours: list[Any] = []

    def run_auto(data: str, output: Path, **options: Any) -> AutoRecord:
        hours.append(options.get("hours"))
        assert options["through_nni"]
        if options.get("hours") is not None and options["hours"] < 0.2:
            raise TooFewHours("too few", 0.2)
        return AutoRecord(dataset="Demo", cases="", hours=1.0)

    monkeypatch.setattr(demo, "run_auto", run_auto)
    monkeypatch.setattr(demo, "_predict_one", lambda folder: None)
    return hours


def test_a_slow_machine_gets_the_time_that_it_needs(
    started: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.run_demo(tmp_path / "demo")
    assert started == [demo.HOURS, pytest.approx(0.22)]
    assert "The shortest schedule on this machine takes 12 minutes." in capsys.readouterr().out
    assert (tmp_path / "demo" / demo.DATA / "dataset.json").is_file()


def test_a_machine_that_gets_slower_while_it_is_timed_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hours: list[float] = []

    def run_auto(data: str, output: Path, **options: Any) -> AutoRecord:
        hours.append(options["hours"])
        if len(hours) < 4:
            raise TooFewHours("too few", 2.0 * options["hours"])
        return AutoRecord(dataset="Demo", cases="", hours=1.0)

    monkeypatch.setattr(demo, "run_auto", run_auto)
    monkeypatch.setattr(demo, "_predict_one", lambda folder: None)
    demo.run_demo(tmp_path / "demo")
    assert hours == pytest.approx([demo.HOURS * 2.2**number for number in range(4)])


def test_the_command_ends_with_what_to_type_next(
    started: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "uxnet_eval.commands.auto.print_outcome", lambda output, record: print(f"tables of {output}")
    )
    result = CliRunner().invoke(app, ["demo", str(tmp_path / "demo"), "--quick"], catch_exceptions=False)
    assert started == [None]  # the few steps are planned already
    record = AutoRecord.load(tmp_path / "demo" / demo.RUN)
    assert record is not None
    assert record.schedule is not None
    assert record.schedule.final.total == 4
    assert "the scores mean nothing" in result.output
    assert f"tables of {tmp_path / 'demo' / 'run'}" in result.output
    assert result.output.splitlines()[-1].startswith("next: uxnet check DATA")


def test_another_fault_is_not_taken_for_lack_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_auto(*_: object, **__: object) -> AutoRecord:
        raise UserError("a fault")

    monkeypatch.setattr(demo, "run_auto", run_auto)
    with pytest.raises(UserError, match="a fault"):
        demo.run_demo(tmp_path / "demo")


def test_a_second_start_goes_on(started: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Planned:
        schedule = object()

    monkeypatch.setattr(demo.AutoRecord, "load", lambda folder: Planned())
    demo.run_demo(tmp_path / "demo")
    assert started == [None]
