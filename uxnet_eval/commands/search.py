"""Commands that search: in this process, through NNI, and as a demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
    from ..config.overrides import parse_overrides
    from ..search.run import run_search

    folder = run_search(config, output=output, overrides=parse_overrides(settings or []))
    typer.echo(f"results are in {folder}; next: uxnet export {folder} -o genotype.json")


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
    from ..nni_experiments import launch as launching

    if experiment is not None:
        started = launching.launch(
            experiment, port=port, wait=wait, experiment_dir=experiment_dir, open_to_network=open_to_network
        )
    else:
        assert resume is not None
        started = launching.resume(resume, port=port, wait=wait, open_to_network=open_to_network)
    typer.echo(f"experiment: {started.experiment_id}")
    typer.echo(f"web page:   {started.url}")
    is_written = (started.folder / "log" / "report.html").exists()
    if is_written or not wait:
        later = "" if is_written else "  (from the first validation on)"
        typer.echo(f"report:     {started.url}/logs/report.html{later}")
    typer.echo(f"folder:     {started.folder}")
    typer.echo(f"end it (and its web page) with: nnictl stop {started.experiment_id}")


def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything is written.")] = Path("demo"),
) -> None:
    """Show the whole path on generated data: two trials through NNI, the best one exported and drawn.

    Takes some minutes on two processor cores and prints where everything is.

    Example: uxnet demo
    """
    from ..demo import run_demo

    run_demo(folder)
