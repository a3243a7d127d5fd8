"""Experiment trackers that a run sends its curves to, beside TensorBoard."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from search_space.strict import StrictConfig


class TrackingSettings(StrictConfig):
    """Experiment trackers that get the curves too; TensorBoard gets them always."""

    wandb: str | None = Field(None, min_length=1)
    """Project of Weights & Biases (the extra ``wandb``); None: none."""
    mlflow: str | None = Field(None, min_length=1)
    """Address of an MLflow server, such as ``http://127.0.0.1:5000``, or of its database,
    ``sqlite:////home/me/mlflow.db`` (the extra ``mlflow``); None: none."""

    @field_validator("mlflow")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).password:  # it would stand in every run's folder
            raise ValueError("mlflow: holds a password; set MLFLOW_TRACKING_PASSWORD instead")
        return value
