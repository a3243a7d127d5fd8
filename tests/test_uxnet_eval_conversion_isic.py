"""ISIC 2018 into the project's layout: names, values of masks, sizes, and every faulty file in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from search_space import UserError
from uxnet_eval.cli import app
from uxnet_eval.conversion.isic import convert_isic
from uxnet_eval.dataset.check import check_dataset
from uxnet_eval.dataset.msd import load_image, load_label, read_dataset

IMAGES, MASKS = "ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"


def write_image(path: Path, height: int = 6, width: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_mask(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Two training images as the archive names them, one with a mask of 0/255, one of 0/1; what else lies there."""
    folder = tmp_path / "ISIC2018"
    half = np.arange(8)[None].repeat(6, axis=0) >= 4
    for name, lesion in (("ISIC_0000000", 255), ("ISIC_0000001", 1)):
        write_image(folder / IMAGES / f"{name}.jpg")
        write_mask(folder / MASKS / f"{name}_segmentation.png", half * lesion)
    write_mask(folder / IMAGES / "ISIC_0000000_superpixels.png", np.full((6, 8), 7))
    (folder / IMAGES / "ATTRIBUTION.txt").write_text("x")
    return folder


def test_published_folders_become_a_sound_data_set(published: Path, tmp_path: Path) -> None:
    write_image(published / "ISIC2018_Task1-2_Test_Input" / "ISIC_0000009.jpg")
    convert_isic(published, tmp_path / "out")
    dataset = read_dataset(tmp_path / "out")
    assert [case.case_id for case in dataset.cases] == ["ISIC_0000000", "ISIC_0000001"]
    assert [case.case_id for case in dataset.test_cases] == ["ISIC_0000009"]
    assert (dataset.spatial_dims, dataset.num_channels, dataset.class_names) == (
        2,
        3,
        ("background", "lesion"),
    )
    for case in dataset.cases:
        label, _ = load_label(case, dataset)
        assert label[:, :4].sum() == 0 and (label[:, 4:] == 1).all()
        source = published / IMAGES / f"{case.case_id}.jpg"
        assert case.image.read_bytes() == source.read_bytes()  # as it is: no second compression
        assert np.unique(np.asarray(Image.open(case.label))).tolist() == [0, 255]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ISIC2018", "out"]


def test_large_images_are_reduced_by_areas(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_image(folder / "images" / "a.jpg", height=8, width=12)
    mask = np.zeros((8, 12))
    mask[:, :6] = 255
    mask[0, 6] = 255  # a quarter of a reduced pixel: no lesion there
    write_mask(folder / "masks" / "a.png", mask)
    convert_isic(folder, tmp_path / "out", short_side=4)
    dataset = read_dataset(tmp_path / "out")
    (case,) = dataset.cases
    image, _ = load_image(case, dataset)
    label, _ = load_label(case, dataset)
    assert image.shape == (3, 4, 6) and case.image.suffix == ".png"
    stored = np.asarray(Image.open(folder / "images" / "a.jpg"), dtype=float)
    means = stored.reshape(4, 2, 6, 2, 3).mean(axis=(1, 3))
    assert np.abs(np.moveaxis(image, 0, -1) - means).max() <= 1  # rounded along each axis
    assert np.array_equal(label, np.repeat([[1, 1, 1, 0, 0, 0]], 4, axis=0))


def test_every_faulty_file_is_named_in_one_line(published: Path, tmp_path: Path) -> None:
    for name in ("ISIC_0000002", "ISIC_0000003"):
        write_image(published / IMAGES / f"{name}.jpg")
    write_mask(published / MASKS / "ISIC_0000004_segmentation.png", np.zeros((6, 8)))
    for name, pixels in (
        ("ISIC_0000005", np.full((6, 8), 7)),
        ("ISIC_0000006", np.array([[0, 1], [255, 0]])),  # neither 0 and 1 nor 0 and 255
        ("ISIC_0000007", np.zeros((6, 7))),
    ):
        write_image(published / IMAGES / f"{name}.jpg", *((2, 2) if pixels.shape == (2, 2) else (6, 8)))
        write_mask(published / MASKS / f"{name}_segmentation.png", pixels)
    with pytest.raises(UserError) as caught:
        convert_isic(published, tmp_path / "out")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "images without a mask: ISIC_0000002, ISIC_0000003",
        "masks without an image: ISIC_0000004",
        "masks with other values than 0 and 255, or 0 and 1: ISIC_0000005 (7), ISIC_0000006 (0, 1, 255)",
        "images and masks of different size: ISIC_0000007 (6x8, mask 6x7)",
        "mend or remove these files",
    ):
        assert part in message
    assert [path.name for path in tmp_path.iterdir()] == ["ISIC2018"]  # nothing is left


def test_files_that_are_no_pictures_and_grey_images_are_named(published: Path, tmp_path: Path) -> None:
    (published / IMAGES / "ISIC_0000000.jpg").write_bytes(b"no picture")
    Image.new("L", (8, 6)).save(published / IMAGES / "ISIC_0000001.jpg")
    with pytest.raises(UserError, match=r"cannot be read: \(ISIC_0000000: .*\); .*RGB: ISIC_0000001"):
        convert_isic(published, tmp_path / "out")


def test_folders_that_make_no_data_set(published: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no JPEG image"):
        convert_isic(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(UserError, match="exists already and is not empty"):
        convert_isic(published, published)
    write_image(published / "again" / "ISIC_0000000.jpg")
    with pytest.raises(UserError, match=r"Input/ISIC_0000000.jpg and again/ISIC_0000000.jpg have one name"):
        convert_isic(published, tmp_path / "out")
    write_image(tmp_path / "test" / "ISIC2018_Task1-2_Test_Input" / "ISIC_0000009.jpg")
    with pytest.raises(UserError, match="holds images to test on alone"):
        convert_isic(tmp_path / "test", tmp_path / "out")


def test_real_photographs_are_converted_by_the_command(dermoscopy: Path, tmp_path: Path) -> None:
    source = dermoscopy
    out = tmp_path / "ISIC2018"
    done = CliRunner().invoke(app, ["convert", "isic", str(source), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert f"wrote 5 case(s) to {out}; next: uxnet check {out}" in done.output
    assert check_dataset(out) == []
    dataset = read_dataset(out)
    for case in dataset.cases:
        image, _ = load_image(case, dataset)
        label, _ = load_label(case, dataset)
        assert image.shape == (3, 256, 341) and label.shape == (256, 341)
        before = np.asarray(Image.open(source / "masks" / f"{case.case_id}.png")) > 0
        assert label.mean() == pytest.approx(before.mean(), abs=2e-3)  # the lesion's share of the image
    assert set(json.loads((out / "dataset.json").read_text())["labels"]) == {"0", "255"}
