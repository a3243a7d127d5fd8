"""What each stage runs: the functions of the commands, one after the other, all resumable."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from search_space import Genotype
from search_space.errors import UserError
from search_space.reading import read_json
from strategies.single_path.limits import Limits
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
from ..search.single_path_module import anchor_of
from ..training.scoring import score_models
from .fitting import shortened
from .needs import Needs
from .outcome import evaluation_folder, member_folder, outcome_markdown, read_outcome
from .planning import plan_auto, schedule_yaml
from .progress import OverallProgress
from .record import AutoRecord
from .schedule import FOLDERS, SEARCHED, UNET, Schedule
from .timing import StepTimer, Timing
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

    It chooses the found network among the proposals, and then which of it and the U-Net segments
    new scans. Without such a comparison that is the U-Net, if it is trained: a found network that
    nothing has tried is not to be trusted.
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
        "Dice on the inner fold: %.4f of proposal %d%s; %s segments new scans",
        scores[best],
        best + 1,
        unet,
        run.record.chosen,
    )


def train(run: Run) -> None:
    """Trains the chosen network and the U-Net alike, and writes ``model.json``."""
    folder, record = run.folder, run.record
    if record.fitted is None:
        record.fitted = _fitted(run)
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
    run_trainings(
        due,
        folder,
        run.progress,
        schedule.parts["train"],
        through_nni="train" if run.through_nni else None,
        keep_page=True,
    )
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


def _fitted(run: Run) -> Schedule:
    """The schedule with final trainings that fit the time left, by timing their own networks."""
    schedule, record = run.schedule, run.record
    config = schedule.search
    timer = StepTimer(config, run.dataset)
    genotype = Genotype.load(run.folder / GENOTYPE_NAME)
    space = config.space_config(run.dataset.num_channels, run.dataset.num_classes)
    unet = anchor_of(space)
    timing = Timing(
        search_step_s=0.0,
        measured_step_s=0.0,
        searched_step_s=timer.training_step_s(genotype),
        unet_step_s=timer.training_step_s(unet) if record.with_unet else 0.0,
        validated_case_s=timer.validated_case_s(genotype),
        scored_case_s=timer.scored_case_s(),
        loaded_case_s=timer.loaded_case_s,
        case_gib=timer.case_gib,
        search_gib=0.0,
        train_gib=0.0,
    )
    run.progress.keep()  # this timing counts too
    after_s = 60 * (schedule.minutes["evaluate"] + schedule.minutes["report"])
    left_s = 3600 * record.hours - record.spent_s - after_s
    needs = Needs(
        config,
        timing,
        len(run.dataset.cases),
        record.spent_s,
        with_unet=record.with_unet,
        through_nni=run.through_nni,
        outer_fold=record.left_out_fold,
    ).of_folds(run.dataset)
    fitted = shortened(schedule, needs, left_s)
    cost = Limits(space, config.plan.patch_size).cost(genotype)
    logger.info(
        "the found network (%s multiply-adds of %s) takes %.3g s a step; %.1f minutes are left for training",
        f"{cost.multiply_adds:.3g}",
        f"{schedule.multiply_adds:.3g}",
        timing.searched_step_s,
        left_s / 60,
    )
    if fitted.final != schedule.final:
        logger.warning(
            "the machine is slower than it was: final trainings of %d steps instead of %d",
            fitted.final.total,
            schedule.final.total,
        )
    return fitted
