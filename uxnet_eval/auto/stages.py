"""What each stage runs: the functions of the commands, one after the other, all resumable."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from search_space.errors import UserError
from search_space.reading import read_json
from strategies.single_path.proposed import propose_best

from ..dataset.check import check_dataset, facts
from ..dataset.folds import NUM_FOLDS, SPLIT_SEED, split_fold
from ..dataset.msd import Dataset
from ..drawing import draw_genotype_file
from ..evaluation.folders import write_evaluation
from ..networks.checkpoint import load_model
from ..preprocessing.prepared_cases import PreparedCases
from ..report import write_report
from ..runs.files import write_json, write_text
from ..runs.front_record import FrontRecord
from ..runs.model_file import write_model_file
from ..runs.names import (
    ARCHITECTURE_NAME,
    BEST_NAME,
    CHOICE_FOLDER,
    EVALUATION_FOLDER,
    GENOTYPE_NAME,
    OUTCOME_NAME,
    REPORT_NAME,
    SEARCH_CONFIG_NAME,
    SEARCH_FOLDER,
    SUMMARY_NAME,
    TABLE_NAME,
    TRAINING_FOLDER,
)
from ..runs.validation_cases import ValidationCases
from ..search.run import run_search
from ..training.scoring import score_models
from .outcome import evaluation_folder, member_folder, outcome_markdown, read_outcome
from .planning import plan_auto, schedule_yaml
from .progress import OverallProgress
from .record import AutoRecord
from .refitting import refitted
from .schedule import FOLDERS, SEARCHED, UNET, Schedule
from .trainings import Due, run_trainings

logger = logging.getLogger(__name__)

UNET_PRESET = "preset:unet"


@dataclass(frozen=True)
class Run:
    """What all stages share."""

    folder: Path
    dataset: Dataset
    record: AutoRecord
    progress: OverallProgress
    through_nni: bool = False
    """Several trainings are trials of NNI."""

    @property
    def schedule(self) -> Schedule:
        """The schedule in force."""
        found = self.record.fitted or self.record.schedule
        assert found is not None, "the stage plan has ended"
        return found


def check(run: Run) -> None:
    """Refuses a data set with faults, and names each of them; says what is good to know."""
    for fact in facts(run.dataset):
        logger.info("note: %s", fact)
    faults = check_dataset(
        run.dataset.folder, progress=lambda done, total: run.progress.advance(done / total)
    )
    for fault in faults:
        logger.warning("%s", fault)
    if faults:
        raise UserError(
            f"{run.dataset.folder}: {len(faults)} fault{'s' if len(faults) > 1 else ''} found, the first: {faults[0]}"
        )


def plan(run: Run) -> None:
    """Makes the schedule, and writes the search's configuration."""
    schedule = plan_auto(
        run.dataset,
        run.record.hours,
        with_unet=run.record.with_unet,
        left_out_fold=run.record.left_out_fold,
        progress=lambda done, total: run.progress.advance(0.5 * done / total),
        spent_s=run.record.spent_s,
        through_nni=run.through_nni,
    )
    run.record.schedule = schedule
    text = schedule_yaml(schedule, run.record.hours)
    write_text(run.folder / SEARCH_CONFIG_NAME, text)
    for line in text.split("\n\n")[0].splitlines():
        logger.info("%s", line.removeprefix("# "))


def search(run: Run) -> None:
    """Searches, without the left-out fold."""
    with run.progress.run(run.schedule.parts["search"]):
        run_search(run.folder / SEARCH_CONFIG_NAME, output=run.folder / SEARCH_FOLDER)


def choose(run: Run) -> None:
    """Trains the best of the search and the U-Net for a while; the inner fold chooses.

    It chooses the found network among the proposals, and, unless the final trainings do, which of
    it and the U-Net segments new scans. Without any comparison that is the U-Net, if it is trained:
    a found network that nothing has tried is not to be trusted.
    """
    schedule, folder = run.schedule, run.folder
    measured = FrontRecord.load(folder / SEARCH_FOLDER).candidates()
    genotypes = propose_best(measured, schedule.proposals)
    if schedule.choice is None or (len(genotypes) == 1 and not schedule.with_unet):
        genotypes[0].save(folder / GENOTYPE_NAME)
        run.record.chosen = UNET if schedule.with_unet else SEARCHED
        return
    (folder / CHOICE_FOLDER).mkdir(exist_ok=True)
    due = []
    for number, genotype in enumerate(genotypes):
        path = folder / CHOICE_FOLDER / f"proposal-{number}.json"
        if not path.exists():
            genotype.save(path)
        config = schedule.choice_config(SEARCHED, str(path.absolute()), schedule.choice)
        due.append(Due(config, path.with_suffix("")))
    if schedule.with_unet:
        config = schedule.choice_config(UNET, UNET_PRESET, schedule.choice)
        due.append(Due(config, folder / CHOICE_FOLDER / FOLDERS[UNET]))
    parts = {"steps": 0.9, "scored": 0.1}
    scores = run_trainings(
        due, folder, run.progress, parts, through_nni="choose" if run.through_nni else None
    )
    best = max(range(len(genotypes)), key=scores.__getitem__)
    genotypes[best].save(folder / GENOTYPE_NAME)
    run.record.chosen = UNET if max(scores) > scores[best] else SEARCHED
    unet = f"; U-Net: {scores[-1]:.4f}" if schedule.with_unet else ""
    logger.info(
        "Dice on the inner fold: %.4f of proposal %d%s; %s is ahead",
        scores[best],
        best + 1,
        unet,
        run.record.chosen,
    )


def train(run: Run) -> None:
    """Trains the found network and the U-Net alike, and writes ``model.json``.

    With folds of their own, these trainings choose which of the two segments new scans.
    """
    folder, record = run.folder, run.record
    if record.fitted is None:
        record.fitted = refitted(run)
        record.save(folder)
    schedule = run.schedule
    (folder / TRAINING_FOLDER).mkdir(exist_ok=True)
    architectures = {
        label: str((folder / GENOTYPE_NAME).absolute()) if label == SEARCHED else UNET_PRESET
        for label in schedule.networks
    }
    due = [
        Due(schedule.final_config(label, architectures[label], member), member_folder(folder, label, member))
        for member in schedule.members
        for label in schedule.networks
    ]
    scores = run_trainings(
        due,
        folder,
        run.progress,
        schedule.parts["train"],
        through_nni="train" if run.through_nni else None,
        keep_page=True,
    )
    if schedule.folds and schedule.with_unet:
        dice = {
            label: fmean(scores[number :: len(schedule.networks)])
            for number, label in enumerate(schedule.networks)
        }
        record.chosen = UNET if dice[UNET] > dice[SEARCHED] else SEARCHED
    write_model_file(
        folder,
        [member_folder(folder, record.chosen, member) / BEST_NAME for member in schedule.members],
    )


def evaluate(run: Run) -> None:
    """Scores both ensembles on the left-out fold."""
    schedule, folder, dataset = run.schedule, run.folder, run.dataset
    _, cases = split_fold(dataset, fold=schedule.outer_fold, num_folds=NUM_FOLDS, seed=SPLIT_SEED)
    prepared = PreparedCases(cases, dataset, schedule.search.plan, cache=False)
    (folder / EVALUATION_FOLDER).mkdir(exist_ok=True)
    for number, label in enumerate(schedule.networks):
        output = evaluation_folder(folder, label)
        if (output / SUMMARY_NAME).exists():
            continue
        models = [
            load_model(
                member_folder(folder, label, member) / BEST_NAME, device=schedule.search.runtime.device
            )
            for member in schedule.members
        ]
        seen = ValidationCases()
        shares = number / len(schedule.networks), (number + 1) / len(schedule.networks)
        with run.progress.run({"scored": 1.0}, *shares):
            evaluation = score_models(
                models, prepared, dataset, models[0].config["train"]["tolerance_mm"], seen
            )
        output.mkdir(exist_ok=True)
        seen.save(
            output, dataset.class_names, f"Cases of the left-out fold, {label}, ensemble of {len(models)}"
        )
        write_evaluation(evaluation, output)
    write_json(folder / OUTCOME_NAME, read_outcome(folder, schedule, run.record.chosen))


def report(run: Run) -> None:
    """Writes the table, the drawing of the architecture and the page."""
    folder = run.folder
    dims = run.schedule.search.plan.spatial_dims
    draw_genotype_file(
        folder / GENOTYPE_NAME, folder / ARCHITECTURE_NAME, spatial_dims=dims, title=run.dataset.name
    )
    run.progress.advance(0.3)
    write_report(folder, folder / REPORT_NAME)
    run.progress.advance(0.9)
    run.progress.keep()  # the table shows the time of this stage too
    write_text(folder / TABLE_NAME, outcome_markdown(read_json(folder / OUTCOME_NAME), run.record))


RUNS: dict[str, Callable[[Run], None]] = {
    "check": check,
    "plan": plan,
    "search": search,
    "choose": choose,
    "train": train,
    "evaluate": evaluate,
    "report": report,
}
