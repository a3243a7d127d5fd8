"""The command line ``uxnet``: which commands there are, and what becomes of errors.

A command (:mod:`uxnet_eval.commands`) is thin and calls one function of its module, which it
imports when it runs, so that ``uxnet --help`` does not wait for PyTorch.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import warnings
from typing import Annotated, Any

try:
    import typer

    from .commands import (
        auto,
        auto_trial,
        cancel,
        check,
        compare,
        contest,
        convert,
        demo,
        demo_data,
        derive,
        draw,
        evaluate,
        experiments,
        export,
        front,
        latency,
        launch,
        plan,
        predict,
        report,
        search,
        status,
        table,
        train,
    )
except ModuleNotFoundError as error:  # a trial that NNI started with another interpreter than nnictl's
    sys.exit(
        f"uxnet: error: {sys.executable} has no package '{error.name}'; activate the environment that the project "
        "is installed in before nnictl create, or start the experiment with uxnet launch"
    )

from search_space.errors import UserError, printable

app = typer.Typer(
    name="uxnet",
    help="Search the architecture of a medical segmentation network on your own scans.\n\n"
    "Begin with: uxnet check DATA, then uxnet auto DATA -o runs/auto --hours 2",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a surprise keeps Python's own traceback
)
# In the order of --help.
for _panel, _name, _command in (
    ("The usual path", "check", check.check),
    ("The usual path", "auto", auto.auto),
    ("The usual path", "report", report.report),
    ("The usual path", "predict", predict.predict),
    ("The usual path", "evaluate", evaluate.evaluate),
    ("Step by step", "plan", plan.plan),
    ("Step by step", "search", search.search),
    ("Step by step", "front", front.front),
    ("Step by step", "latency", latency.latency),
    ("Step by step", "export", export.export),
    ("Step by step", "draw", draw.draw),
    ("Step by step", "train", train.train),
    ("Experiments", "launch", launch.launch),
    ("Experiments", "status", status.status),
    ("Experiments", "cancel", cancel.cancel),
    ("Experiments", "derive", derive.derive),
    ("Experiments", "contest", contest.contest),
    ("Experiments", "compare", compare.compare),
    ("Experiments", "table", table.table),
    ("To try things on", "demo", demo.demo),
    ("To try things on", "demo-data", demo_data.demo_data),
):
    app.command(_name, rich_help_panel=_panel)(_command)
app.command("auto-trial", hidden=True)(auto_trial.auto_trial)
app.add_typer(convert.convert, name="convert", rich_help_panel="Step by step")
app.add_typer(experiments.experiments, name="experiments", rich_help_panel="Experiments")


_wants_traceback = False


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"uxnet {version('uxnet-search')}")
        except PackageNotFoundError:
            typer.echo("uxnet, run from its source folder without being installed")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="For developers: show where an error came from.")
    ] = False,
) -> None:
    global _wants_traceback
    _wants_traceback = traceback


class _Printable(logging.Formatter):
    """Messages without what a terminal would obey: names in them come from files."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _ToStderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what ``sys.stderr`` is now: a progress bar puts itself there, to stay below."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr


def _report_to_stderr() -> None:
    """Shows log messages of this project with their time, and only warnings of other libraries."""
    handler = _ToStderr()
    handler.setFormatter(_Printable("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(handlers=[handler])
    for package in ("search_space", "strategies", "uxnet_eval"):
        logging.getLogger(package).setLevel(logging.INFO)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)  # advertises
    # One line each, without the line of code that gave it.
    warnings.formatwarning = lambda message, category, *_: printable(f"{category.__name__}: {message}\n")


def main() -> None:
    """Runs the command line.

    Exit codes: 0 done, 1 user error, 2 wrong usage, 130 interrupted.
    """
    from .runs.control_groups import cores
    from .runs.processes import is_helper

    _report_to_stderr()
    limit = cores()
    if limit is not None:  # before PyTorch is imported, which starts a thread for each core it sees
        os.environ.setdefault("OMP_NUM_THREADS", str(min(limit, os.cpu_count() or limit)))
    if is_helper():  # the first process of the run speaks for all
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        for package in ("search_space", "strategies", "uxnet_eval"):
            logging.getLogger(package).setLevel(logging.ERROR)
    try:
        app(prog_name="uxnet")
    except (UserError, OSError, MemoryError) as error:
        if _wants_traceback:
            raise
        print(f"uxnet: error: {_in_words(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        _end_interrupted()
    except SystemExit as stop:
        if stop.code == 130:  # typer's own translation of Ctrl-C, which is silent
            _end_interrupted()
        raise


def _in_words(error: Exception) -> str:
    """One line about a fault of the input or of the machine."""
    if isinstance(error, OSError):
        advice = "free space" if error.errno == errno.ENOSPC else "uxnet --traceback shows where"
        return printable(f"{error.filename or 'a file'}: {error.strerror or error}; {advice}")
    if isinstance(error, MemoryError):
        return f"the memory of this machine is not enough ({error}); use a smaller patch, batch or scan"
    return str(error)


def _end_interrupted() -> None:
    """Reports the interruption and exits with 130.

    A trial ends by the signal instead, because NNI counts every exit code except 0 as a failure.
    """
    from .nni_guards import is_nni_trial

    print("uxnet: interrupted", file=sys.stderr, flush=True)
    if is_nni_trial():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    sys.exit(130)


if __name__ == "__main__":
    main()
