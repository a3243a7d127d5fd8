"""What is asked of the cluster for each trial: ``partition=gpu,time=4:00:00,gpus=1,mem=32G``."""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic import Field, field_validator

from search_space.errors import UserError
from search_space.strict import StrictConfig

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")


class SlurmRequest(StrictConfig):
    """The resources of each trial, in SLURM's terms."""

    time: int = Field(ge=1)
    """Time limit, kept in minutes; given as SLURM takes it: 90, 4:00:00 or 2-00:00:00. A trial that
    reaches it stops, is queued again and goes on."""
    partition: str | None = Field(None, min_length=1)
    """The partition; None: the cluster's default."""
    gpus: int = Field(0, ge=0)
    """GPUs of each trial, on one node."""
    cpus: int = Field(1, ge=1)
    """Processor cores of each trial."""
    mem: str | None = Field(None, pattern=r"^\d+[KMGT]?B?$")
    """Memory of each trial, such as 32G; None: the cluster's default."""
    account: str | None = Field(None, min_length=1)
    """The account to charge."""
    qos: str | None = Field(None, min_length=1)
    """The quality of service."""
    constraint: str | None = Field(None, min_length=1)
    """Features that the node must have."""
    concurrency: int | None = Field(None, ge=1)
    """Most trials at once; None: as many as the cluster gives."""
    signal: int = Field(90, ge=10, le=3600)
    """Seconds before the time limit at which a trial stops to be queued again. SLURM may send the
    signal up to a minute earlier."""

    @field_validator("time", mode="before")
    @classmethod
    def _minutes(cls, value: Any) -> Any:
        return minutes(value) if isinstance(value, str) else value


def parse_request(text: str) -> SlurmRequest:
    """The request in ``NAME=VALUE,NAME=VALUE``.

    Raises:
        UserError: if a name is unknown or comes twice, or a value is not allowed.
    """
    values: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise UserError(
                f"--slurm {part}: expected NAME=VALUE, such as --slurm partition=gpu,time=4:00:00"
            )
        if name in values:
            raise UserError(f"--slurm {part}: '{name}' is given twice; give it once")
        values[name] = value
    if "time" not in values and set(values) <= SlurmRequest.model_fields.keys():
        raise UserError("--slurm: the time limit of a trial is missing; add time=4:00:00 (hours)")
    request: SlurmRequest = SlurmRequest.parse(values, source="--slurm")
    return request


def minutes(text: str) -> int:
    """A time as SLURM writes it, in minutes, rounded up.

    The forms are M, M:S, H:M:S, D-H, D-H:M and D-H:M:S.

    Raises:
        ValueError: if it is no such time.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(
            f"'{text}' is no time that SLURM knows; write minutes, hours:minutes:seconds, or days-hours"
        )
    parts = [int(part) for part in found["parts"].split(":")]
    if found["days"] is not None:
        hours, mins, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, mins, seconds = parts
    else:
        hours, (mins, seconds) = 0, (*parts, 0)[:2]
    return 24 * 60 * int(found["days"] or 0) + 60 * hours + mins + math.ceil(seconds / 60)
