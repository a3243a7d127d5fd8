"""What is exported: a genotype, with weights and plan if it has been trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space import Genotype
from search_space.errors import UserError

from ..config.training import DEFAULT_BASE_CHANNELS, NetworkSettings
from ..networks.checkpoint import LoadedModel, load_model
from ..search.export import export_genotype


@dataclass(frozen=True)
class ExportSource:
    """A genotype and its width, and the trained network if the source was one."""

    genotype: Genotype
    base_channels: float
    max_channels: int
    model: LoadedModel | None


def export_source(source: str, **search: Any) -> ExportSource:
    """What ``source`` names.

    Args:
        source: a genotype (.json), a trained network (any other file), or what
            :func:`uxnet_eval.search.export.export_genotype` takes.
        search: its other arguments, to choose one of a search's genotypes.

    Raises:
        UserError: if there is nothing of that name, or the trained network is a baseline, which has
            no genotype.
    """
    path = Path(source)
    if path.is_file() or path.suffix in (".json", ".pt"):
        for name, value in search.items():
            if value is not None and name != "by":
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option}: belongs to a search, and {source} is a file; leave it out")
    if path.suffix == ".json":
        return ExportSource(Genotype.load(path), DEFAULT_BASE_CHANNELS, _default_max_channels(), None)
    if path.is_file() or path.suffix == ".pt":
        model = load_model(path, "cpu", "float32")
        if model.architecture.genotype is None:
            raise UserError(
                f"{path}: its architecture '{model.architecture.name}' is a baseline, which has no genotype; give a "
                "network of the grid"
            )
        max_channels = int(model.config["network"]["max_channels"])
        return ExportSource(model.architecture.genotype, model.base_channels, max_channels, model)
    genotype, _ = export_genotype(source, **search)
    return ExportSource(genotype, DEFAULT_BASE_CHANNELS, _default_max_channels(), None)


def _default_max_channels() -> int:
    return NetworkSettings().max_channels
