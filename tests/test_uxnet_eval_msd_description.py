"""Reading of dataset.json: what is accepted, and one clear line for what is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from search_space.errors import UserError
from uxnet_eval.dataset.msd import Case, case_id_of, read_dataset


@pytest.fixture
def folder(demo_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_set, tmp_path / "set"))


def edit(folder: Path, **changes: Any) -> None:
    """Sets keys of dataset.json; None removes one."""
    path = folder / "dataset.json"
    description = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in description.items() if value is not None}))


def test_reads_the_quirks_of_the_decathlon(tmp_path: Path) -> None:
    description = {
        "name": "Prostate",
        "tensorImageSize": "4D",
        "modality": {"1": "ADC", "0": "T2"},
        "labels": {"2": "TZ", "0": "background", "1": "PZ"},
        "numTraining": 2,
        "numTest": 1,
        "training": [
            {"image": "./imagesTr/prostate_00.nii.gz", "label": "./labelsTr/prostate_00.nii.gz"},
            {"image": "./imagesTr/prostate_01.nii.gz", "label": "./labelsTr/prostate_01.nii.gz"},
        ],
        "test": ["./imagesTs/prostate_03.nii.gz"],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description), encoding="utf-8-sig")
    dataset = read_dataset(tmp_path)
    assert dataset.channel_names == ("T2", "ADC")
    assert dataset.class_names == ("background", "PZ", "TZ")
    assert dataset.label_values == (0, 1, 2)
    assert (dataset.num_channels, dataset.num_classes, dataset.spatial_dims) == (2, 3, 3)
    assert [case.case_id for case in dataset.cases] == ["prostate_00", "prostate_01"]
    assert dataset.cases[1].label == tmp_path / "labelsTr" / "prostate_01.nii.gz"
    assert dataset.test_cases == (Case("prostate_03", tmp_path / "imagesTs" / "prostate_03.nii.gz", None),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("./imagesTr/a.b_1.nii.gz", "a.b_1"),
        ("x.nii", "x"),
        ("I_1.JPG", "I_1"),
        ("m.png", "m"),
        ("odd.tif", "odd.tif"),
    ],
)
def test_case_id_is_the_file_name_without_suffix(name: str, expected: str) -> None:
    assert case_id_of(name) == expected


def test_wrong_num_training_only_warns(folder: Path) -> None:
    edit(folder, numTraining=99)
    with pytest.warns(UserWarning, match=r"numTraining is 99 but 8 cases are listed"):
        assert len(read_dataset(folder).cases) == 8


ENTRY = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tensorImageSize": "5D"}, r"tensorImageSize is '5D', expected one of 2D, 3D, 4D"),
        ({"tensorImageSize": None}, r"tensorImageSize is None"),
        ({"modality": None}, r"modality is None, expected whole numbers and names"),
        ({"modality": {"1": "MRI"}}, r"modality has the keys \[1\], expected \[0\]"),
        ({"labels": {"background": 0}}, r"labels holds 'background': 0"),
        ({"labels": {"0": "background", "-1": "x"}}, r"labels holds '-1'"),
        ({"labels": {"1": "organ", "2": "other"}}, r"labels declares the values \[1, 2\], expected 0"),
        ({"labels": {"0": "background"}}, r"and at least one positive value"),
        ({"labels": {"0": "background", "1": "a", "2": "a"}}, r"two labels have one name"),
        ({"training": []}, r"lists no training case"),
        ({"training": None}, r"lists no training case"),
        ({"training": {"a": 1}}, r"training is a dict, expected a list"),
        ({"training": ["./imagesTr/a.nii.gz"]}, r"expected an object with image and label"),
        ({"training": [{"image": "./imagesTr/a.nii.gz"}]}, r"expected an object with image and label"),
        ({"training": [ENTRY, ENTRY]}, r"training lists case a twice"),
        ({"test": [3]}, r"test holds 3, expected an object with image"),
    ],
)
def test_ill_formed_description_is_one_clear_line(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    edit(folder, **changes)
    with pytest.raises(UserError, match=message) as caught:
        read_dataset(folder)
    assert str(caught.value).startswith(str(folder / "dataset.json"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no such file; give a folder in the layout"),
        (b'{"name": ', r"cannot be read \(.*expected JSON"),
        (b"\xff\xfe\x00", r"cannot be read"),
        (b"[1, 2]", r"found a list, expected an object"),
    ],
)
def test_unreadable_description(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_dataset(tmp_path)
