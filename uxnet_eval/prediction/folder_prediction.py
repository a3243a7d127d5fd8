"""Predicts scans into a folder. Keeps finished ones, names broken ones, does the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from search_space.errors import UserError

from .case_prediction import check_ensemble, predict_case
from .label_map import SUFFIX, output_error, write_label_map, write_probabilities
from .record import PredictionRecord, sha256
from .scans import Scan, load_scan
from .windows import Model, WindowSettings

logger = logging.getLogger(__name__)

PROBABILITIES_FOLDER = "probabilities"


@dataclass
class PredictionOutcome:
    """What became of the scans."""

    predicted: list[str] = field(default_factory=list)
    """Case ids."""
    kept: list[str] = field(default_factory=list)
    """Case ids that an earlier run had finished."""
    failures: dict[str, str] = field(default_factory=dict)
    """What is wrong, by case id; each message begins with it."""


def refuse_output(output: Path, source: Path) -> None:
    """Raises :class:`UserError` if label maps cannot or should not go to the folder ``output``.

    They would be taken for images on the next run, or replace them, if it were the folder of
    ``source`` or within it.
    """
    if (output.exists() and not output.is_dir()) or output.name.endswith((SUFFIX, ".nii")):
        raise UserError(
            f"{output}: is a file, expected a folder; each label map is called as its image within it"
        )
    where, images = output.resolve(), source.resolve()
    if source.is_dir() and (where == images or images in where.parents):
        raise UserError(
            f"{output}: lies {'in' if where != images else 'at'} the input folder {source}, where label maps would be "
            "taken for images; give a folder outside of it"
        )
    if source.is_file() and where == images.parent:
        raise UserError(
            f"{output}: is the folder of the input {source.name}, which its label map would replace; give another folder"
        )


def predict_folder(
    scans: Sequence[Scan],
    output: Path,
    models: Mapping[Path, Model],
    settings: WindowSettings,
    *,
    probabilities: bool = False,
    largest_component: bool = False,
    overwrite: bool = False,
    progress: Callable[[float, int], None] | None = None,
    report: Callable[[str], None] | None = None,
) -> PredictionOutcome:
    """Writes ``CASE_ID.nii.gz`` for each scan, with the checkpoint's label values, into ``output``.

    A scan that cannot be read or predicted is noted, and the others are done. Cases that an earlier
    run finished with the same checkpoints and settings are kept.

    Args:
        scans: of different case ids.
        output: the folder; made if absent.
        models: by the path of their checkpoints.
        settings: of the windows.
        probabilities: write ``probabilities/CASE_ID.nii.gz`` too.
        largest_component: of each class keep its largest component alone.
        overwrite: predict finished cases anew, and replace label maps of another origin.
        progress: called with the number of scans done, in parts too, and their total.
        report: called with a line for each scan.

    Raises:
        UserError: the models do not fit together; the folder holds other predictions.
        OutputError: the disk is full, or a file cannot be written; finished cases are kept.
    """
    check_ensemble({str(path): model for path, model in models.items()})
    dataset = next(iter(models.values())).dataset
    outputs = {scan.case_id: _outputs(output, scan, probabilities) for scan in scans}
    for scan in scans:
        for file in scan.files:
            if file.resolve() in {path.resolve() for path in outputs[scan.case_id]}:
                raise UserError(f"{scan.case_id}: its label map would replace {file}; give another folder")
    record = PredictionRecord(
        checkpoints={str(path): sha256(path) for path in models},
        settings={
            "overlap": "as in training" if settings.overlap is None else settings.overlap,
            "mirror": settings.mirror,
            "precision": ", ".join(sorted({model.precision for model in models.values()})),
            "largest_component": largest_component,
        },
        label_values=dict(zip(dataset.class_names, dataset.label_values, strict=True)),
    )
    record.resume(output, outputs, overwrite)
    try:
        (output / PROBABILITIES_FOLDER if probabilities else output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(output, error) from None
    record.save(output)

    outcome = PredictionOutcome()
    for index, scan in enumerate(scans):
        if scan.case_id in record.finished:
            outcome.kept.append(scan.case_id)
            line = f"{scan.case_id}: finished before, kept"
        else:
            started_s = time.monotonic()
            try:
                _predict_scan(
                    scan,
                    outputs[scan.case_id],
                    list(models.values()),
                    settings,
                    largest_component,
                    None if progress is None else _part_of(progress, index, len(scans)),
                )
            except _CaseError as error:
                outcome.failures[scan.case_id] = str(error)
                line = f"failed: {error}"
            else:
                record.finished.append(scan.case_id)
                record.save(output)
                outcome.predicted.append(scan.case_id)
                line = f"{scan.case_id}: done in {time.monotonic() - started_s:.1f} s"
        if report is not None:
            report(f"[{index + 1}/{len(scans)}] {line}")
        if progress is not None:
            progress(index + 1, len(scans))
    return outcome


class _CaseError(Exception):
    """Why one scan could not be predicted; the others can."""


def _predict_scan(
    scan: Scan,
    outputs: Sequence[Path],
    models: Sequence[Model],
    settings: WindowSettings,
    largest_component: bool,
    progress: Callable[[float], None] | None,
) -> None:
    try:
        image, affine = load_scan(scan, models[0].dataset.channel_names, models[0].plan.spatial_dims)
        prediction = predict_case(
            models,
            image,
            affine,
            case_id=scan.case_id,
            settings=settings,
            probabilities=len(outputs) > 1,
            largest_component=largest_component,
            progress=progress,
        )
    except UserError as error:
        raise _CaseError(str(error)) from None
    except (ValueError, ArithmeticError) as error:  # numbers of this image that nothing foresaw
        logger.debug("%s: %s", scan.case_id, scan.files[0], exc_info=True)
        raise _CaseError(
            f"{scan.case_id}: {scan.files[0]}: cannot be predicted ({type(error).__name__}: "
            f"{' '.join(str(error).split())}); check its header"
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise _CaseError(
            f"{scan.case_id}: {scan.files[0]}: the memory does not suffice for this image; use a smaller "
            "--window-batch, another device, or a machine with more memory"
        ) from None
    label_path, *probabilities_path = outputs
    # The label map last: a case that has one is finished.
    if probabilities_path:
        assert prediction.probabilities is not None
        write_probabilities(probabilities_path[0], prediction.probabilities, prediction.affine, scan.files[0])
    write_label_map(
        label_path, prediction.label, prediction.affine, models[0].dataset.label_values, scan.files[0]
    )


def _is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    text = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        "DefaultCPUAllocator" in text or "out of memory" in text
    )


def _outputs(output: Path, scan: Scan, probabilities: bool) -> list[Path]:
    name = scan.case_id + SUFFIX
    return [output / name, *([output / PROBABILITIES_FOLDER / name] if probabilities else [])]


def _part_of(progress: Callable[[float, int], None], index: int, total: int) -> Callable[[float], None]:
    return lambda share: progress(index + share, total)
