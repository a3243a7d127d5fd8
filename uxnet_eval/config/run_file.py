"""What the configurations of all runs share: data, plan, machine, and overrides by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import Field, field_validator
from pydantic_core import to_jsonable_python
from typing_extensions import Self

from search_space.errors import UserError, nearest
from search_space.reading import read_yaml
from search_space.strict import StrictConfig

from ..dataset.find import find_dataset
from .plan import Plan
from .tracking import TrackingSettings


class RuntimeSettings(StrictConfig):
    """Where and how it is computed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto``: the GPU where there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """``auto``: bfloat16 where the processor or GPU has instructions for it."""
    channels_last: bool = True
    """Memory layout with the channels innermost: the same numbers, faster convolutions."""
    num_workers: int = Field(1, ge=0, le=256)
    """Background threads that prepare batches; 0 prepares them in the training thread."""
    num_threads: int | None = Field(None, ge=1, le=1024)
    """Threads of PyTorch on the CPU; None: all cores."""
    devices: Literal["auto"] | int = 1
    """Processes of this machine that share each batch, each with a GPU of its own (or with cores of
    the processor); ``auto``: all visible GPUs that can share it evenly."""
    num_nodes: int = Field(1, ge=1, le=4096)
    """Machines that share each batch; start the same command on each, see docs/scale.md."""
    strategy: Literal["ddp"] = "ddp"
    """How several processes compute together: Lightning's DDP (distributed data parallel)."""

    @field_validator("devices")
    @classmethod
    def _some(cls, value: str | int) -> str | int:
        if isinstance(value, int) and value < 1:
            raise ValueError(f"devices is {value}; expected auto or at least 1")
        return value


class RunFile(StrictConfig):
    """What the configurations of all runs share: the data, its plan, sections of settings."""

    MEANT: ClassVar[Mapping[str, str]] = {}
    """The section that :meth:`override` takes for a name that several sections have."""

    dataset: str
    """A folder in the layout of the Decathlon or a raw folder of nnU-Net: absolute, or relative to
    this file, to the current folder, to ``UXNET_DATA`` or to ``data/``."""
    output: str | None = None
    """Folder of the results when run by hand; an NNI trial writes to its own."""
    plan: Plan
    tracking: TrackingSettings = TrackingSettings()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The configuration in a YAML file.

        Raises:
            UserError: if the file cannot be read, is not YAML, or has an unknown key or a bad
                value.
        """
        path = Path(path)
        try:
            values = read_yaml(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); make one with uxnet plan") from None
        except ValueError as error:
            raise UserError(f"{path}: not YAML ({error})") from None
        return cls.from_values(values, source=str(path))

    @classmethod
    def from_values(cls, values: Any, source: str) -> Self:
        """The configuration in a file's content; a subclass may accept other files too."""
        return cls.parse(values, source=source)  # type: ignore[no-any-return]

    def override(self, parameters: Mapping[str, Any], source: str = "NNI parameters") -> Self:
        """This configuration with values replaced by name, wherever the name stands.

        Args:
            parameters: for example ``{"sparsity_weight": 0.5, "search.seed": 2}``.
            source: the beginning of an error message.

        Raises:
            UserError: if a name is no setting, stands in several sections, or its value is not
                allowed.
        """
        values = self.model_dump()
        sections = self._sections()
        homes: dict[str, list[str]] = {}
        for section, model in sections:
            for name in model.model_fields:
                homes.setdefault(name, []).append(section)
        homes |= {name: [section] for name, section in self.MEANT.items()}
        full_names = {f"{section}.{name}" for section, model in sections for name in model.model_fields}
        for name, value in parameters.items():
            section, _, key = name.rpartition(".")
            if name in full_names:
                values[section][key] = value
            elif name in homes and len(homes[name]) == 1:
                values[homes[name][0]][name] = value
            elif name in homes:
                full = " or ".join(f"{each}.{name}" for each in homes[name])
                raise UserError(f"{source}: '{name}' stands in several sections; write {full}")
            elif name in values and name not in dict(sections):
                values[name] = value
            else:
                known = full_names if section else {*homes, *values} - {*dict(sections)}
                raise UserError(f"{source}: unknown parameter '{name}'{nearest(name, known)}")
        return self.parse(values, source=source)  # type: ignore[no-any-return]

    def to_yaml(self) -> str:
        """The resolved configuration, every value spelled out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, default_flow_style=None)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The defaults of all optional settings, as in YAML, by full name (``search.epochs``)."""
        return {
            f"{section}.{name}": to_jsonable_python(field.get_default(call_default_factory=True))
            for section, model in cls._sections()
            for name, field in model.model_fields.items()
            if not field.is_required()
        }

    def check_files(self, beside: Path | None = None, needs_data: bool = True) -> None:
        """Raises :class:`UserError` if a file or folder that is named here is not there.

        Args:
            beside: the configuration's own folder.
            needs_data: False: the data set may be on other machines alone.
        """
        if needs_data:
            find_dataset(self.dataset, beside)

    @classmethod
    def _sections(cls) -> list[tuple[str, type[StrictConfig]]]:
        return [
            (name, field.annotation)
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, StrictConfig)
        ]
