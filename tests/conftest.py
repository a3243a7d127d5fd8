"""Fixtures of all tests: the real data where it exists, and small generated sets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from uxnet_eval.dataset.demo_data import make_demo_data

# The tensors of the tests are small: more threads wait for each other longer than they compute. Where several
# processes test side by side (pytest -n), one thread each, and one for what they start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
else:
    torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the real data sets, ``UXNET_DATA``."""
    named = os.environ.get("UXNET_DATA")
    if not named:
        pytest.skip("needs the real data: set UXNET_DATA to the folder that holds Task04_Hippocampus")
    if not Path(named).is_dir():
        pytest.fail(f"UXNET_DATA is {named}, which is no folder")
    return Path(named)


def _real(data_root: Path, name: str) -> Path:
    folder = data_root / name
    if not folder.is_dir():
        pytest.skip(f"needs the real data: {data_root} holds no {name}")
    return folder


@pytest.fixture(scope="session")
def hippocampus(data_root: Path) -> Path:
    """MSD task 4: 200 cases of about 35x50x36 voxels, 1 channel, 3 classes."""
    return _real(data_root, "Task04_Hippocampus")


@pytest.fixture(scope="session")
def brats(data_root: Path) -> Path:
    """Four brains of 240x240x155 voxels, 2 channels, 5 classes, in MSD layout."""
    return _real(data_root, "BraTS2015_mini")


@pytest.fixture(scope="session")
def anisotropic(data_root: Path) -> Path:
    """Three spinal-cord scans and masks, t2 in PSR orientation, t2s_uncropped of thick slices; no dataset.json."""
    return _real(data_root, "anisotropic")


@pytest.fixture(scope="session")
def dermoscopy(data_root: Path) -> Path:
    """Five RGB pictures (images/*.jpg) and masks (masks/*.png, values 0 and 255); no dataset.json."""
    return _real(data_root, "dermoscopy_mini")


@pytest.fixture(scope="session")
def demo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated 3-D set, 8 cases of 24x24x16 voxels; copy it before changing a file."""
    folder = tmp_path_factory.mktemp("demo_set") / "data"
    return make_demo_data(folder, num_cases=8, size_voxels=(24, 24, 16), seed=1)


@pytest.fixture(scope="session")
def demo_set_2d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated 2-D set of two channels, 8 cases of 32x32 pixels; copy it before changing a file."""
    folder = tmp_path_factory.mktemp("demo_set_2d") / "data"
    return make_demo_data(folder, num_cases=8, spatial_dims=2, num_channels=2, size_voxels=(32, 32), seed=1)
