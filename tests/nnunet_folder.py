"""Writing a raw folder of nnU-Net from a data set in MSD layout, for tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import SimpleITK

from uxnet_eval.dataset.cases import Dataset


def write_nnunet_folder(
    folder: Path, dataset: Dataset, ending: str = ".nii.gz", num_cases: int | None = None
) -> Path:
    """The first cases of a data set of one channel, as ``nnUNetv2_convert_MSD_dataset`` lays them out.

    Files of another ending than ``.nii.gz`` are converted by SimpleITK.
    """
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    cases = dataset.cases[:num_cases]
    for case in cases:
        copy(case.image, folder / "imagesTr" / f"{case.case_id}_0000{ending}")
        assert case.label is not None
        copy(case.label, folder / "labelsTr" / f"{case.case_id}{ending}")
    description = {
        "channel_names": {str(number): name for number, name in enumerate(dataset.channel_names)},
        "labels": dict(zip(dataset.class_names, dataset.label_values, strict=True)),
        "numTraining": len(cases),
        "file_ending": ending,
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def copy(source: Path, target: Path) -> None:
    """The file; converted by SimpleITK if the ending is another one."""
    if target.name.endswith(".nii.gz"):
        shutil.copyfile(source, target)
    else:
        image = SimpleITK.ReadImage(str(source))
        for key in image.GetMetaDataKeys():  # of NIfTI, which the other formats would warn about
            image.EraseMetaData(key)
        SimpleITK.WriteImage(image, str(target), useCompression=True)


def edit(folder: Path, **changes: Any) -> None:
    """Changes keys of ``dataset.json``; None removes one."""
    path = folder / "dataset.json"
    description = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in description.items() if value is not None}))
