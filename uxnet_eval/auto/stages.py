"""What each stage runs: the functions of the commands, one after the other, all resumable."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from search_space.errors import UserError
from search_space.reading import read_json
from strategies.single_path.proposed import propose_best

from ..dataset.check import check_dataset, facts
from ..dataset.msd import Dataset
from ..drawing import draw_genotype_file
from ..report import write_report
from ..runs.files import write_json, write_text
from ..runs.front_record import FrontRecord
from ..runs.model_file import write_model_file
from ..runs.names import (
    ARCHITECTURE_NAME,
    CHOICE_FOLDER,
    EVALUATION_FOLDER,
    GENOTYPE_NAME,
    OUTCOME_NAME,
    REPORT_NAME,
    SEARCH_CONFIG_NAME,
    SEARCH_FOLDER,
    TABLE_NAME,
    TRAINING_FOLDER,
)
from ..search.run import run_search
from .ensembles import member_checkpoints, member_folder, own_folds_dice, score_ensemble
from .outcome import outcome_markdown, read_outcome
from .planning import plan_auto, schedule_yaml
from .progress import OverallProgress
from .record import AutoRecord
from .refitting import refitted
from .schedule import BOTH, FOLDERS, SEARCHED, UNET, Schedule
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
    """Trains the found network and the U-Net alike."""
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
    run_trainings(
        due,
        folder,
        run.progress,
        schedule.parts["train"],
        through_nni="train" if run.through_nni else None,
        keep_page=True,
    )


def evaluate(run: Run) -> None:
    """Scores all ensembles on the left-out fold, and writes ``model.json``.

    Before that, the final trainings choose who segments new scans, each on its own fold: the found
    network, the U-Net, or both. Without such folds, the stage ``choose`` has chosen.
    """
    schedule, folder = run.schedule, run.folder
    (folder / EVALUATION_FOLDER).mkdir(exist_ok=True)
    own = schedule.folds if BOTH in schedule.ensembles else ()
    rows = [*((BOTH, fold) for fold in own), *((label, None) for label in schedule.ensembles)]

    def score(number: int) -> None:
        with run.progress.run({"scored": 1.0}, number / len(rows), (number + 1) / len(rows)):
            score_ensemble(folder, run.dataset, schedule, *rows[number])

    for number in range(len(own)):
        score(number)
    if own:
        dice = own_folds_dice(folder, schedule)
        run.record.chosen = max(dice, key=lambda label: dice[label])
    write_model_file(folder, member_checkpoints(folder, schedule, run.record.chosen))
    for number in range(len(own), len(rows)):
        score(number)
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
