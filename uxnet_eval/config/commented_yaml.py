"""Writing a run configuration for people: complete, and with a comment at every setting."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from search_space import SearchSpaceConfig
from search_space.errors import UserError
from search_space.strict import StrictConfig

from ..runs.files import write_text
from .plan import Plan
from .search import RunConfig, SearchSettings, SpaceSettings

WIDTH = 110


def write_run_config(
    dataset: str | os.PathLike[str],
    plan: Plan,
    path: str | os.PathLike[str],
    *,
    base_channels: int = 8,
    left_out_fold: int | None = None,
    overwrite: bool = False,
    reasons: Mapping[str, str] | None = None,
) -> RunConfig:
    """Writes ``path`` (``X.run.yml``) with every setting and its meaning.

    Returns the configuration that the file holds.

    Args:
        dataset: the data set's folder, written as it is given.
        plan: its plan.
        path: the file; missing folders are made.
        base_channels: that the plan was made for.
        left_out_fold: the fold that the search does not see.
        overwrite: replace an existing file.
        reasons: why a setting has its value, by full name (``plan.mirror_axes``), as a comment.

    Raises:
        UserError: if the file exists and is not to be replaced.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; choose another name, or allow it to be overwritten")
    config = RunConfig(
        dataset=str(dataset),
        plan=plan,
        space=SpaceSettings(base_channels=base_channels),
        search=SearchSettings(left_out_fold=left_out_fold),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, commented_yaml(config, reasons))
    return config


def commented_yaml(config: RunConfig, reasons: Mapping[str, str] | None = None) -> str:
    """The configuration as YAML, every setting spelled out and explained by its docstring.

    Args:
        config: the configuration.
        reasons: further comments by the full name of a setting (``plan.mirror_axes``).
    """
    reasons = reasons or {}
    lines = ["# " + _first_paragraph(RunConfig)]
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, StrictConfig):
            lines += ["", *_comment(_first_paragraph(type(value)), indent=""), f"{name}:"]
            own = type(value).__annotations__  # before what a section inherits from the strategy
            for inner, inner_field in sorted(
                type(value).model_fields.items(), key=lambda item: item[0] not in own
            ):
                written = value.model_dump(mode="json")[inner]
                lines += _setting(inner, inner_field, written, "  ", reasons.get(f"{name}.{inner}", ""))
        else:
            lines += _setting(name, field, config.model_dump(mode="json")[name], "", reasons.get(name, ""))
    return "\n".join(lines) + "\n"


def _setting(name: str, field: FieldInfo, value: Any, indent: str, reason: str) -> list[str]:
    described = field.description
    if described is None and name in SearchSpaceConfig.model_fields:  # the same setting, explained there
        described = SearchSpaceConfig.model_fields[name].description
    written = yaml.safe_dump([value], default_flow_style=True, width=10_000).strip()[1:-1]
    return [*_comment(described or "", indent), *_comment(reason, indent), f"{indent}{name}: {written}"]


def _comment(text: str, indent: str) -> list[str]:
    plain = re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("`", "")  # no markup of docstrings
    plain = " ".join(plain.split())
    for python, in_yaml in (("None", "null"), ("False", "false"), ("True", "true")):
        plain = re.sub(rf"\b{python}\b", in_yaml, plain)
    return [f"{indent}# {line}" for line in textwrap.wrap(plain, WIDTH - len(indent) - 2)]


def _first_paragraph(model: type[StrictConfig]) -> str:
    return (model.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
