"""``uxnet launch``: an experiment, by NNI's manager under guard, or as jobs of SLURM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def launch(
    experiment: Annotated[
        Path | None, typer.Argument(help="NNI's experiment configuration, experiments/X.yml.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Instead of a configuration: continue an experiment that stopped or whose manager died; or, by its "
            "folder, one of SLURM.",
        ),
    ] = None,
    slurm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=VALUE,...",
            help="Submit the trials as an array of SLURM jobs, without a manager: time (of each trial), partition, gpus, "
            "cpus, mem, account, qos, constraint, concurrency, signal.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Port of NNI's web page. Default: the first free port from 8080 on."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show the progress and return when every trial is done.")
    ] = False,
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --wait, for X.table1.yml and X.table2.yml: write the paper's table there at the end, as "
            "uxnet table does, over the one of before.",
        ),
    ] = None,
    experiment_dir: Annotated[
        Path | None, typer.Option(help="Folder for the experiment's folder. Default: ~/nni-experiments.")
    ] = None,
    open_to_network: Annotated[
        bool,
        typer.Option(
            "--open-to-network",
            help="Let other machines open NNI's web page, with the token. Only for networks that you trust: the token is "
            "sent unencrypted.",
        ),
    ] = False,
) -> None:
    """Start an NNI experiment safely: nnictl create, with guards.

    The web page and TensorBoard want a token and listen on this machine alone (nnictl opens them to
    the network, without a password), what would hang NNI is refused, and the trials use this
    Python. Prints the experiment's id, the web page's address with the token, and the folder.

    With trainingService: remote, the trials run on other machines through ssh; a tunnel for each
    leads back here, and no port is opened to the network. Every machine is looked at first.

    Example: uxnet launch experiments/hippocampus.yml --wait

    Example: uxnet launch experiments/X.yml --slurm partition=gpu,time=4:00:00,gpus=1,mem=32G
    """
    from ..slurm.record import is_slurm_experiment

    if (experiment is None) == (resume is None):
        raise typer.BadParameter("give either an experiment configuration or --resume ID")
    if resume is not None and experiment_dir is not None:
        raise typer.BadParameter(
            "--experiment-dir is for a new experiment; one that is resumed keeps its folder"
        )
    if table is not None:
        if not wait:
            raise typer.BadParameter("--table needs --wait: the table is written when every trial is done")
        from ..runs.folder import make_output_folder

        make_output_folder(table)  # now: after hours of trials is late to say that it cannot be written
    folder = None if resume is None else Path(resume)
    if slurm is not None or (folder is not None and is_slurm_experiment(folder)):
        if port is not None or open_to_network:
            raise typer.BadParameter("SLURM's jobs have no web page: leave --port and --open-to-network out")
        launched = _launch_on_slurm(experiment, folder, slurm, experiment_dir, wait)
        if table is not None:
            from .table import print_and_write

            print_and_write([str(launched)], table)
        return
    from ..nni_experiments import launch as launching
    from ..runs.names import LOG_FOLDER, REPORT_NAME

    if experiment is not None:
        started = launching.launch(
            experiment, port=port, wait=wait, experiment_dir=experiment_dir, open_to_network=open_to_network
        )
    else:
        assert resume is not None
        started = launching.resume(resume, port=port, wait=wait, open_to_network=open_to_network)
    typer.echo(f"experiment: {started.experiment_id}")
    typer.echo(f"web page:   {started.url}")
    if open_to_network:
        typer.echo("            from other machines: this machine's name instead of 127.0.0.1")
    is_written = (started.folder / LOG_FOLDER / REPORT_NAME).exists()
    if is_written or not (wait or started.machines):
        later = "" if is_written else "  (from the first validation on)"
        typer.echo(f"report:     {started.report_url}{later}")
    for machine in started.machines:
        typer.echo(f"machine:    {machine.name}")
    typer.echo(f"folder:     {started.folder}")
    typer.echo(f"end it (and its web page) with: nnictl stop {started.experiment_id}")
    following = "report" if wait else "status"
    typer.echo(f"next: uxnet {following} {started.experiment_id}" + (" -o report.html" if wait else ""))
    if table is not None:
        from .table import print_and_write

        print_and_write([started.experiment_id], table)


def _launch_on_slurm(
    experiment: Path | None, folder: Path | None, slurm: str | None, experiment_dir: Path | None, wait: bool
) -> Path:
    from ..slurm import launch as launching
    from ..slurm.request import parse_request

    request = None if slurm is None else parse_request(slurm)
    if experiment is not None:
        assert request is not None
        started = launching.launch(experiment, request, experiment_dir=experiment_dir)
    else:
        assert folder is not None
        started = launching.resume(folder, request)
    jobs = started.jobs[-1]
    typer.echo(f"experiment: {started.folder}")
    typer.echo(
        f"trials:     {len(jobs)} of {len(started.parameters)}, job {next(iter(jobs.values())).split('_')[0]}"
    )
    typer.echo(f"end it with: uxnet cancel {started.folder}")
    typer.echo(f"next: uxnet status {started.folder}")
    if wait:
        launching.wait_until_done(started, lambda line: typer.echo(line, err=True))
    return started.folder
