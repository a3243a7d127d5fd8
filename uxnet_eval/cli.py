"""The command line ``uxnet``: thin commands, each of which calls one function of its module.

Modules are imported inside the commands, so that ``uxnet --help`` does not wait for PyTorch.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

try:
    import typer
    from rich.console import Console
except ModuleNotFoundError as error:  # a trial that NNI started with another interpreter than nnictl's
    sys.exit(
        f"uxnet: error: {sys.executable} has no package '{error.name}'; activate the environment that the project "
        "is installed in before nnictl create, or start the experiment with uxnet launch"
    )

from search_space.errors import UserError

app = typer.Typer(
    name="uxnet",
    help="Search the architecture of a medical segmentation network on your own scans.\n\n"
    "The usual order: check the data, plan, search (uxnet launch, or nnictl create), export, draw.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a surprise keeps Python's own traceback
)
_DATA, _SEARCH, _ARCHITECTURE, _NETWORK = "Data", "Search", "Architecture", "Network"

Data = Annotated[
    str,
    typer.Argument(metavar="DATA", help="Folder in Medical Segmentation Decathlon layout (dataset.json)."),
]


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
) -> None:
    pass


@app.command(rich_help_panel=_DATA)
def check(data: Data) -> None:
    """Look at every case of a data set and list what is broken.

    Prints one line per fault (the case, what was found, what was expected, what to do) and a summary.
    Changes nothing. The exit code is 1 if there is a fault.

    Example: uxnet check data/Task04_Hippocampus
    """
    from .check import check_dataset
    from .run_config import find_dataset

    folder = find_dataset(data)
    with _progress("checking the cases") as progress:
        faults = check_dataset(folder, progress=progress)
    for fault in faults:
        typer.echo(str(fault))
    if faults:
        typer.echo(f"{folder}: {len(faults)} fault{'s' if len(faults) > 1 else ''} found")
        raise typer.Exit(1)
    typer.echo(f"{folder}: no fault found")


@app.command(rich_help_panel=_DATA)
def plan(
    data: Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The run configuration to write, such as X.run.yml.")
    ],
    memory_gib: Annotated[
        float | None,
        typer.Option(help="Memory the search may use, in GiB; unless given, that of the GPU or machine."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
) -> None:
    """Choose spacing, patch size, strides, normalisation and batch size from the data.

    Reads every training case once and writes a run configuration: YAML, with every choice spelled out, to
    be edited by hand if you know better.

    Example: uxnet plan data/Task04_Hippocampus -o experiments/mine.run.yml
    """
    _refuse_existing(output, force)
    from . import fingerprint, msd, planning
    from .run_config import find_dataset

    folder = find_dataset(data)
    with _progress("reading the cases") as progress:
        measured = fingerprint.measure(msd.read_dataset(folder), progress=progress)
    planning.write_run_config(data, planning.make_plan(measured, memory_gib), output, overwrite=force)
    typer.echo(f"wrote {output}; next: uxnet search --config {output} --output runs/first")


@app.command("demo-data", rich_help_panel=_DATA)
def demo_data(
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    cases: Annotated[int, typer.Option(help="Training cases.")] = 24,
    dims: Annotated[int, typer.Option(help="3 for volumes, 2 for images.")] = 3,
    channels: Annotated[int, typer.Option(help="Image channels.")] = 1,
    anisotropic: Annotated[bool, typer.Option("--anisotropic", help="Thick slices.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed makes the same data.")] = 0,
) -> None:
    """Generate a small data set to try things on.

    Writes dataset.json, imagesTr and labelsTr: organs of different size and texture, with noise and
    a bias field, in the layout that every other command reads.

    Example: uxnet demo-data demo/data --cases 24
    """
    from .demo_data import make_demo_data

    make_demo_data(
        folder, num_cases=cases, spatial_dims=dims, num_channels=channels, anisotropic=anisotropic, seed=seed
    )
    typer.echo(f"wrote {cases} case(s) to {folder}; next: uxnet plan {folder} -o demo.run.yml")


@app.command(rich_help_panel=_SEARCH)
def search(
    config: Annotated[Path, typer.Option(help="The run configuration, X.run.yml.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for the results; an NNI trial has its own.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Replace one setting of the configuration; may be repeated."
        ),
    ] = None,
) -> None:
    """Run one search in this process; NNI's trials run this command too.

    Writes genotypes at several thresholds, a checkpoint, the resolved configuration and TensorBoard events
    to the output folder. Ctrl-C stops it and leaves a usable checkpoint.

    Example: uxnet search --config experiments/hippocampus.run.yml --output runs/first --set epochs=5
    """
    from .overrides import parse_overrides
    from .search import run_search

    folder = run_search(config, output=output, overrides=parse_overrides(settings or []))
    typer.echo(f"results are in {folder}; next: uxnet export {folder} -o genotype.json")


@app.command(rich_help_panel=_SEARCH)
def launch(
    experiment: Annotated[
        Path | None, typer.Argument(help="NNI's experiment configuration, experiments/X.yml.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Instead, go on with an experiment that stopped or whose manager died."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Port of NNI's web page; unless given, the first free one from 8080 on."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show the progress and return when every trial is done.")
    ] = False,
    experiment_dir: Annotated[
        Path | None, typer.Option(help="Where NNI keeps the experiment; unless given, ~/nni-experiments.")
    ] = None,
    open_to_network: Annotated[
        bool,
        typer.Option(
            "--open-to-network",
            help="Let NNI listen to other machines, without a password: only in a network that you trust.",
        ),
    ] = False,
) -> None:
    """Start an NNI experiment safely: nnictl create, with guards.

    The web page and TensorBoard listen on this machine alone (nnictl opens them to the network, without a
    password), what would hang NNI is refused, and the trials use this Python. Prints the experiment's id,
    the web page's address and the folder.

    Example: uxnet launch experiments/hippocampus.yml --wait
    """
    if (experiment is None) == (resume is None):
        raise typer.BadParameter("give either an experiment configuration or --resume ID")
    if resume is not None and experiment_dir is not None:
        raise typer.BadParameter(
            "--experiment-dir is for a new experiment; one that is resumed keeps its folder"
        )
    from . import launch as launching

    if experiment is not None:
        started = launching.launch(
            experiment, port=port, wait=wait, experiment_dir=experiment_dir, open_to_network=open_to_network
        )
    else:
        assert resume is not None
        started = launching.resume(resume, port=port, wait=wait, open_to_network=open_to_network)
    typer.echo(f"experiment: {started.experiment_id}")
    typer.echo(f"web page:   {started.url}")
    typer.echo(f"folder:     {started.folder}")
    typer.echo(f"end it (and its web page) with: nnictl stop {started.experiment_id}")


@app.command(rich_help_panel=_ARCHITECTURE)
def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="An NNI experiment's id, or the output folder of uxnet search."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The genotype to write, JSON.")],
    prune_threshold: Annotated[
        float | None,
        typer.Option(help="Keep edges whose gate is at least this; unless given, the search's own."),
    ] = None,
    trial: Annotated[
        str | None, typer.Option(help="A trial's id; unless given, the experiment's best.")
    ] = None,
    by: Annotated[str, typer.Option(help="The final result by which a trial is the best.")] = "default",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
) -> None:
    """Write the architecture that a search found as one JSON file.

    Another prune threshold needs no new search: more edges stay at a lower one, fewer at a higher one.

    Example: uxnet export runs/first -o genotype.json --prune-threshold 0.6
    """
    _refuse_existing(output, force)
    from .export import export_genotype

    genotype, record = export_genotype(source, prune_threshold=prune_threshold, trial=trial, by=by)
    genotype.save(output)
    if record is not None:
        score = "" if record.final is None or by not in record.final else f", {by} {record.final[by]:.4f}"
        typer.echo(f"trial {record.id}{score}")
    num_edges = len(genotype.grid.edges)
    typer.echo(f"{len(genotype.edges)} of {num_edges} edges, {len(genotype.nodes)} nodes")
    typer.echo(f"wrote {output}; next: uxnet draw {output} -o {output.with_suffix('.png')}")


@app.command(rich_help_panel=_ARCHITECTURE)
def draw(
    genotype: Annotated[Path, typer.Argument(metavar="GENOTYPE", help="A genotype, JSON.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write, .png or .svg.")],
    dims: Annotated[int, typer.Option(min=2, max=3, help="Name the operations as in 3-D or as in 2-D.")] = 3,
) -> None:
    """Draw a genotype: its nodes, the kept edges and the operation of every layer.

    Example: uxnet draw genotype.json -o architecture.png
    """
    from .drawing import draw_genotype_file

    draw_genotype_file(genotype, output, spatial_dims=dims)
    typer.echo(f"wrote {output}")


@app.command(rich_help_panel=_SEARCH)
def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything is written.")] = Path("demo"),
) -> None:
    """Show the whole path on generated data: two trials through NNI, the best one exported and drawn.

    Takes some minutes on two processor cores and prints where everything is.

    Example: uxnet demo
    """
    from .demo import run_demo

    run_demo(folder)


@app.command(rich_help_panel=_NETWORK)
def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(metavar="PREDICTIONS", help="Folder of label maps, each named after its case."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for cases.csv and summary.json; made if absent.")
    ],
    references: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the true label maps, with the same file names."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Instead, a data set with dataset.json: its training labels are the truth."
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VALUE=NAME",
            help="With --references: the class that a label value stands for; repeat it for each class. "
            "Unless given, the values that occur in the references.",
        ),
    ] = None,
    tolerance_mm: Annotated[
        float,
        typer.Option(help="Surfaces this close agree (NSD); about what two experts differ by."),
    ] = 1.0,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Score the cases that have both files; the others are listed, not counted.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite earlier results.")] = False,
) -> None:
    """Score predictions against references: Dice, HD95, surface Dice and volumes.

    The predictions may come from any program that writes NIfTI (or PNG) label maps. Writes every case and
    class to cases.csv, means with 95 % intervals to summary.json, and prints a table.

    Example: uxnet evaluate predicted --references data/Task04_Hippocampus/labelsTr -o scores
    """
    if (references is None) == (dataset is None):
        raise typer.BadParameter("give either --references DIR or --dataset DATA")
    if dataset is not None and label:
        raise typer.BadParameter("--label is for --references; a data set names its classes itself")
    from . import evaluate as evaluation
    from .label_folder import parse_labels
    from .msd import read_dataset
    from .run_config import find_dataset

    evaluation.refuse_output(output, force)
    truth = references if dataset is None else read_dataset(find_dataset(dataset))
    assert truth is not None
    with _progress("scoring the cases") as progress:
        result = evaluation.evaluate_folders(
            truth,
            predictions,
            class_names=parse_labels(label) if label else None,
            tolerance_mm=tolerance_mm,
            allow_missing=allow_missing,
            progress=progress,
        )
    evaluation.write_evaluation(result, output)
    for message in result.summary["warnings"]:
        typer.echo(f"warning: {message}", err=True)
    Console().print(evaluation.summary_table(result.summary))
    typer.echo(evaluation.mean_dice_line(result.summary))
    typer.echo(f"wrote {output / 'cases.csv'} and {output / 'summary.json'}")


def _refuse_existing(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise UserError(f"{path}: exists already; give another name, or --force to overwrite it")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; make it first")


@contextlib.contextmanager
def _progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """A function of (number done, total) that moves a progress bar on stderr, shown if that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda num_done, total: bar.update(task, completed=num_done, total=total)


def _report_to_stderr() -> None:
    """Shows what the project's own modules report, with the time; of other libraries only warnings."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for package in ("search_space", "strategies", "uxnet_eval"):
        logging.getLogger(package).setLevel(logging.INFO)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)  # advertises
    # One line each, without the line of code that gave it.
    warnings.formatwarning = lambda message, category, *_: f"{category.__name__}: {message}\n"


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 an error of the user's, 2 wrong usage, 130 interrupted."""
    _report_to_stderr()
    try:
        app(prog_name="uxnet")
    except UserError as error:
        print(f"uxnet: error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("uxnet: interrupted", file=sys.stderr)
        sys.exit(130)
    except SystemExit as stop:
        if stop.code == 130:  # typer's own translation of Ctrl-C, which is silent
            print("uxnet: interrupted", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
