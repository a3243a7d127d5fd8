"""ISIC 2018, task 1 (lesion boundaries), from its published folders into the project's layout.

The archive's images are JPEG, its masks PNG, in folders beside each other:
``ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg`` and
``ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png``.

Array legend: H W rows and columns.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from search_space.errors import UserError

from ..dataset.image_file import first_of, read_file, times
from .new_dataset import IMAGES, LABELS, NewDataset, new_dataset, refuse_faults

SHORT_SIDE = 256
"""Pixels of the shorter side of converted images, unless told otherwise."""
TEST_FOLDERS = ("Validation_Input", "Test_Input")
"""Folders whose images are no training cases; their masks may be absent."""
NO_MASKS = ("_superpixels", "_attribute_")
"""Parts of the names of PNG files that the archive holds besides the masks."""
LESION = 255
REFERENCE = (
    "ISIC 2018 task 1, https://challenge.isic-archive.com/data (CC BY-NC); HAM10000, Tschandl et al. 2018"
)


def convert_isic(
    folder: Path,
    output: Path,
    *,
    short_side: int | None = SHORT_SIDE,
    progress: Callable[[int, int], None] | None = None,
) -> NewDataset:
    """Converts the images and masks below ``folder``; ``output`` becomes the data set.

    A mask belongs to the image of its name, without ``_segmentation``. Masks become 0 and 255.

    Args:
        folder: holds JPEG images and PNG masks, in any folders.
        output: the new folder.
        short_side: larger images are reduced until their shorter side has this many pixels (means
            over areas; a pixel of the mask is lesion if most of its area is); None: none is.
        progress: called after each image with the number done and their total.

    Raises:
        UserError: in one line: there is no image; images without mask, masks without image, masks
            with other values than 0 and 255 or 0 and 1, files that cannot be read or that do not
            fit, each with all its cases; ``output`` is not empty.
    """
    images, masks = _images(folder), _masks(folder)
    is_test = {name: any(part in path.parent.name for part in TEST_FOLDERS) for name, path in images.items()}
    faults: dict[str, list[str]] = defaultdict(list)
    without_mask = [name for name in images if name not in masks and not is_test[name]]
    faults["images without a mask"] = without_mask
    faults["masks without an image"] = [name for name in masks if name not in images]
    description = NewDataset(
        "ISIC2018", REFERENCE, "2D", ("R", "G", "B"), {0: "background", LESION: "lesion"}
    )
    with new_dataset(output, description) as part:
        for number, (name, path) in enumerate(images.items(), start=1):
            kind = "test" if is_test[name] else "training"
            image = _rgb(name, path, faults)
            mask = _lesion(name, masks[name], faults) if name in masks else None
            if image is not None and mask is not None and image.shape[:2] != mask.shape:
                sizes = f"{name} ({times(image.shape[:2])}, mask {times(mask.shape)})"
                faults["images and masks of different size"].append(sizes)
            elif image is not None and not any(faults.values()):
                file = _write_image(image, path, part / IMAGES[kind] / name, short_side)
                if mask is not None:
                    _write_mask(mask, part / LABELS[kind] / f"{name}.png", short_side)
                description.add(kind, file, f"{name}.png" if mask is not None else None)
            if progress is not None:
                progress(number, len(images))
        refuse_faults(folder, faults, "mend or remove these files")
        if not description.training:
            raise UserError(f"{folder}: holds images to test on alone; give the training folders too")
    return description


def _images(folder: Path) -> dict[str, Path]:
    """The JPEG files below the folder by name."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not found:
        raise UserError(f"{folder}: holds no JPEG image; give the folder of ISIC 2018's unpacked archives")
    return _by_name(folder, found, "")


def _masks(folder: Path) -> dict[str, Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".png")
    return _by_name(
        folder, [path for path in found if not any(no in path.stem for no in NO_MASKS)], "_segmentation"
    )


def _by_name(folder: Path, paths: list[Path], suffix: str) -> dict[str, Path]:
    by_name: dict[str, Path] = {}
    for path in paths:
        name = path.stem.removesuffix(suffix)
        if name in by_name:
            first, second = by_name[name].relative_to(folder), path.relative_to(folder)
            raise UserError(f"{folder}: {first} and {second} have one name; remove one of them")
        by_name[name] = path
    return by_name


def _read(name: str, path: Path, faults: dict[str, list[str]]) -> np.ndarray | None:
    """The stored pixels; None, and a fault, if the file cannot be read."""
    try:
        return read_file(name, path, 2)[0]
    except UserError as error:
        faults["files that cannot be read"].append(f"({error})")
        return None


def _rgb(name: str, path: Path, faults: dict[str, list[str]]) -> np.ndarray | None:
    """An image (H, W, 3); None, and a fault, if it is no RGB image."""
    stored = _read(name, path, faults)
    if stored is not None and (stored.ndim != 3 or stored.shape[-1] != 3):
        faults["images without the three channels of RGB"].append(name)
        return None
    return stored


def _lesion(name: str, path: Path, faults: dict[str, list[str]]) -> np.ndarray | None:
    """Where the lesion is, (H, W) of booleans; None, and a fault, for a mask of other values."""
    stored = _read(name, path, faults)
    if stored is None:
        return None
    if stored.ndim == 3 and (stored == stored[..., :1]).all():
        stored = stored[..., 0]  # grey, stored as RGB
    values = np.unique(stored)
    if stored.ndim != 2 or not ({*values.tolist()} <= {0, 1} or {*values.tolist()} <= {0, LESION}):
        faults["masks with other values than 0 and 255, or 0 and 1"].append(f"{name} ({first_of(values)})")
        return None
    return stored > 0


def _reduced_size(height: int, width: int, short_side: int | None) -> tuple[int, int] | None:
    """Width and height to reduce to; None: as it is."""
    if short_side is None or min(height, width) <= short_side:
        return None
    scale = short_side / min(height, width)
    return max(short_side, round(width * scale)), max(short_side, round(height * scale))


def _write_image(image: np.ndarray, source: Path, stem: Path, short_side: int | None) -> str:
    """Copies the JPEG, or writes the reduced image as PNG, without loss; the file's name."""
    size = _reduced_size(image.shape[0], image.shape[1], short_side)
    if size is None:
        target = stem.with_name(f"{stem.name}{source.suffix.lower()}")
        shutil.copyfile(source, target)
    else:
        target = stem.with_name(f"{stem.name}.png")
        Image.fromarray(image).resize(size, Image.Resampling.BOX).save(target)
    return target.name


def _write_mask(lesion: np.ndarray, target: Path, short_side: int | None) -> None:
    mask = Image.fromarray(np.where(lesion, np.uint8(LESION), np.uint8(0)))
    size = _reduced_size(lesion.shape[0], lesion.shape[1], short_side)
    if size is not None:
        share = np.asarray(mask.resize(size, Image.Resampling.BOX))
        mask = Image.fromarray(np.where(share > LESION / 2, np.uint8(LESION), np.uint8(0)))
    mask.save(target)
