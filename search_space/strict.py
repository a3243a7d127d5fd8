"""Base class of every configuration and record: typed, keyword-only, and strict about names."""

from __future__ import annotations

import reprlib
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from .errors import UserError, nearest


class StrictConfig(BaseModel):
    """A frozen pydantic model that refuses unknown keys and names the nearest known key.

    Use :meth:`parse` for untrusted input (a YAML file, NNI's parameters): it turns every fault into
    one :class:`UserError`. The constructor raises pydantic's ``ValidationError``, a ``ValueError``.
    """

    # Docstrings under fields become descriptions, which are the comments in written YAML files.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in values:
                if key not in cls.model_fields:
                    raise ValueError(
                        f"unknown key '{key}'{nearest(str(key), cls.model_fields)}; "
                        f"allowed: {', '.join(cls.model_fields)}"
                    )
        return values

    @classmethod
    def parse(cls, values: Any, source: str) -> Any:
        """An instance with the values of a mapping.

        Args:
            values: the input, usually a ``dict``.
            source: its origin (a file name); it begins the error message.

        Raises:
            UserError: if a key is unknown or a value has a wrong type or range; one line.
        """
        if not isinstance(values, dict):
            raise UserError(f"{source}: expected keys and values, found {type(values).__name__}")
        try:
            return cls(**values)
        except ValidationError as error:
            raise UserError(f"{source}: {faults_in_words(error)}") from None


def faults_in_words(error: ValidationError) -> str:
    """One line that says for every fault the key, what is expected and what was found."""
    return "; ".join(dict.fromkeys(map(_in_words, error.errors())))


def _in_words(fault: ErrorDetails) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"key '{where}' is missing"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] != "value_error":
        message += f", found {reprlib.repr(fault['input'])}"
    # A UserError already says which name it is about.
    if not where or isinstance(fault.get("ctx", {}).get("error"), UserError):
        return message
    return f"{where}: {message}"
