"""The different genotypes of searches at several prune thresholds, to compare by training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from search_space.errors import UserError
from search_space.genotype import Genotype

from ..architectures.controls import with_unet_edges, with_unet_operations
from ..runs.names import SEARCH_NAME
from ..runs.search_record import SearchRecord
from .export import find_search_experiment

THRESHOLDS = (0.5, 0.6, 0.75, 0.9)


def derive_genotypes(
    sources: Sequence[str],
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    unet_operations: bool = False,
    unet_edges: bool = False,
) -> tuple[dict[str, Genotype], list[str]]:
    """The genotypes of all searches at all thresholds, each different one once.

    Args:
        sources: each an NNI experiment's id or folder, or the output folder of a search.
        thresholds: tau, each in (0, 1).
        unet_operations: add each genotype's edges with the U-Net's operations, to see whether
            searching the operations was worth it.
        unet_edges: add the U-Net's edges with each genotype's operations, to see whether searching
            the edges was worth it.

    Returns:
        The genotypes by name (``trial-3-tau-0.75``), and a note for
        each search without a record and each genotype that equals another one.

    Raises:
        UserError: if a source is not known, or no search has a record yet.
    """
    notes: list[str] = []
    records = [found for source in sources for found in _records(source, notes)]
    if not records:
        raise UserError(
            f"{', '.join(sources)}: no search has a record ({SEARCH_NAME}) yet; wait for its first validation"
            + "".join(f"; {note}" for note in notes)
        )
    found: dict[str, Genotype] = {}
    for search, record, provenance in records:
        for threshold in dict.fromkeys(thresholds):
            name = f"{search}-tau-{threshold:g}"
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                genotype = record.genotype(threshold, provenance)
            notes += [f"{name}: {warning.message}" for warning in caught]
            variants = {name: genotype}
            if unet_operations:
                variants[f"{name}-unet-operations"] = with_unet_operations(genotype)
            if unet_edges:
                variants[f"{name}-unet-edges"] = with_unet_edges(genotype)
            for variant, candidate in variants.items():
                twin = next((other for other, known in found.items() if known == candidate), None)
                if twin is not None:
                    notes.append(f"{variant}: the same as {twin}; left out")
                elif variant in found:
                    raise UserError(f"{search}: two searches have this name; derive from them one at a time")
                else:
                    found[variant] = candidate
    return found, notes


def write_genotypes(genotypes: dict[str, Genotype], folder: Path, *, force: bool) -> list[Path]:
    """Writes ``NAME.json`` for each into ``folder``, which is made if need be.

    Raises:
        UserError: if a file exists and is not to be replaced, or cannot be written.
    """
    paths = {folder / f"{name}.json": genotype for name, genotype in genotypes.items()}
    existing = [path for path in paths if path.exists()]
    if existing and not force:
        raise UserError(f"{existing[0]}: exists already; give another folder, or --force to overwrite it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, genotype in paths.items():
            genotype.save(path)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); give another folder or free space"
        ) from None
    return list(paths)


def architecture_choice(paths: Sequence[Path]) -> str:
    """The line for ``searchSpace`` of an experiment that trains each of them."""
    entry = {"architecture": {"_type": "choice", "_value": [path.as_posix() for path in paths]}}
    return yaml.safe_dump(
        entry["architecture"], default_flow_style=True, width=10**6, sort_keys=False
    ).strip()


def _records(source: str, notes: list[str]) -> list[tuple[str, SearchRecord, dict[str, Any]]]:
    folder = Path(source)
    if (folder / SEARCH_NAME).is_file():
        return [(folder.resolve().name, SearchRecord.load(folder), {})]
    experiment = find_search_experiment(source)
    records = []
    for trial in experiment.trials():
        name = f"trial-{trial.sequence}"
        if trial.final is None:
            notes.append(f"{name} ({trial.id}): {trial.status}, the search is not finished; left out")
            continue
        provenance: dict[str, Any] = {
            "experiment_id": experiment.id,
            "trial_id": trial.id,
            "parameters": dict(trial.parameters),
        }
        records.append((name, SearchRecord.load(trial.output), provenance))
    return records
