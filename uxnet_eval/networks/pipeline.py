"""The JSON beside an exported network: all other steps from a scan to its label map."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from search_space.errors import UserError
from search_space.reading import read_json
from search_space.replacing import replacing
from search_space.strict import StrictConfig

from ..config.plan import Plan
from ..dataset.msd import Dataset

FORMAT = "uxnet-pipeline"
VERSION = 1

READING_ORDER = (
    "Bring the voxels of the scan into the order of `orientation`, without resampling.",
    "Normalise the intensities as `plan.normalization` says.",
    "Interpolate linearly to `plan.spacing_mm`: a box with the same centre and extent, edges repeated.",
    "Cover it with windows of `plan.patch_size` that overlap by `overlap`; pad a smaller one with `padding_value`.",
    "Run the network on each window; weight its logits by a Gaussian of 1/8 of the window, and average.",
    "Take the softmax; interpolate each class linearly back to the scan's voxels; take the most probable class.",
    "Bring the voxels back into the scan's order; write `label_values` of the class.",
)


class NetworkFile(StrictConfig):
    """The file that the description belongs to."""

    file: str
    """Its name, in the same folder."""
    sha256: str
    """SHA-256 of its content, hexadecimal."""
    input_name: str
    output_name: str
    input_shape: tuple[int | str, ...]
    """(batch, channels, *patch_size); the batch may be of any size."""
    output_shape: tuple[int | str, ...]
    """(batch, classes, *patch_size)."""
    dtype: Literal["float32"] = "float32"
    architecture: str
    """Its name in the training."""


class Pipeline(StrictConfig):
    """What a program needs to predict with an exported network."""

    format: Literal["uxnet-pipeline"] = "uxnet-pipeline"
    version: Literal[1] = 1
    steps: tuple[str, ...] = READING_ORDER
    """In words, for whoever writes such a program."""
    network: NetworkFile
    orientation: Literal["RAS", "RA"]
    """Orientation of the network's axes: towards right, anterior, superior."""
    plan: Plan
    padding_value: float
    """Padding of a normalised scan that is smaller than the window."""
    overlap: float = Field(ge=0, lt=1)
    """Overlap of neighbouring windows, as a fraction of the window."""
    dataset_name: str
    channel_names: tuple[str, ...]
    class_names: tuple[str, ...]
    label_values: tuple[int, ...]
    """Value of each class in label maps."""

    @property
    def dataset(self) -> Dataset:
        """Channels, classes and label values, without cases or folder."""
        return Dataset(
            folder=Path(),
            name=self.dataset_name,
            channel_names=self.channel_names,
            class_names=self.class_names,
            label_values=self.label_values,
            cases=(),
            test_cases=(),
            spatial_dims=self.plan.spatial_dims,
        )

    def save(self, path: Path) -> None:
        """Writes it as JSON, whole or not at all."""
        with replacing(path) as part:
            part.write_text(json.dumps(self.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")


def pipeline_path(network: Path) -> Path:
    """Where the description of an exported network lies: ``model.json`` for ``model.onnx``."""
    return network.with_suffix(".json")


def load_pipeline(network: Path) -> Pipeline:
    """The description beside an exported network.

    Raises:
        UserError: begins with the file at fault: the network or its description is absent, the
            description is damaged or of another version, or it is of another network.
    """
    path = pipeline_path(network)
    if not network.is_file():
        raise UserError(f"{network}: no such file; make one with uxnet export --format")
    try:
        values = read_json(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}), but {network.name} needs it: it says how scans are prepared; "
            "keep both files together, or export again"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: {error}; export again") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise UserError(f"{path}: does not describe an exported network; export {network.name} again")
    if values.get("version") != VERSION:
        raise UserError(
            f"{path}: version {values.get('version')!r}, this program reads {VERSION}; export again with this version"
        )
    pipeline: Pipeline = Pipeline.parse(values, str(path))
    if pipeline.network.sha256 != file_sha256(network):
        raise UserError(
            f"{path}: is of another network than {network.name} (their SHA-256 differ); keep the two files of one "
            "export together, or export again"
        )
    return pipeline


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
