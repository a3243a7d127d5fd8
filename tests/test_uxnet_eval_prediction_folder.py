"""Predictions in a folder: what is skipped, kept and refused, and what a full disk leaves."""

from __future__ import annotations

import errno
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from stand_in_model import StandInModel, raw_plan, threshold_network

from search_space.errors import UserError
from uxnet_eval.dataset.msd import load_image, load_label, read_dataset
from uxnet_eval.evaluation.folders import evaluate_folders
from uxnet_eval.evaluation.scores import score_cases
from uxnet_eval.prediction import label_map
from uxnet_eval.prediction.case_prediction import predict_case
from uxnet_eval.prediction.folder_prediction import PredictionOutcome, predict_folder, refuse_output
from uxnet_eval.prediction.label_map import OutputError
from uxnet_eval.prediction.scans import find_scans
from uxnet_eval.prediction.windows import WindowSettings

MODEL = StandInModel(threshold_network(500), raw_plan((1, 1, 1), (8, 8, 8)))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three scans a, b, c of 9x7x6 voxels."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "abc":
        nib.save(
            nib.Nifti1Image(rng.uniform(0, 1000, (9, 7, 6)).astype(np.float32), np.eye(4)),
            folder / f"{name}.nii.gz",
        )
    return folder


@pytest.fixture
def run(tmp_path: Path, images: Path) -> Callable[..., PredictionOutcome]:
    """Predicts ``images`` into ``tmp_path/out`` with a checkpoint whose content is ``weights``."""

    def call(weights: str = "weights", model: StandInModel = MODEL, **options: Any) -> PredictionOutcome:
        checkpoint = tmp_path / f"{weights}.pt"
        checkpoint.write_text(weights)
        settings = options.pop("settings", WindowSettings())
        return predict_folder(
            find_scans(images, ["MRI"], 3), tmp_path / "out", {checkpoint: model}, settings, **options
        )

    return call


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def stored(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_label_maps_are_called_as_their_images_and_store_the_label_values(
    run: Callable[..., PredictionOutcome], images: Path, tmp_path: Path
) -> None:
    model = replace(
        MODEL,
        network=threshold_network(300, 600),
        class_names=("background", "x", "y"),
        label_values=(0, 85, 255),
    )
    outcome = run(model=model)
    assert (outcome.predicted, outcome.kept, outcome.failures) == (["a", "b", "c"], [], {})
    assert names(tmp_path / "out") == ["a.nii.gz", "b.nii.gz", "c.nii.gz", "prediction.json"]
    label = stored(tmp_path / "out" / "b.nii.gz")
    assert label.dtype == np.uint8
    classes = np.digitize(stored(images / "b.nii.gz"), [300, 600])
    np.testing.assert_array_equal(label, np.array([0, 85, 255])[classes])
    record = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert record["label_values"] == {"background": 0, "x": 85, "y": 255}
    assert record["finished"] == ["a", "b", "c"]


def test_probabilities_are_files_of_their_own(
    run: Callable[..., PredictionOutcome], images: Path, tmp_path: Path
) -> None:
    run(probabilities=True)
    out = tmp_path / "out"
    assert names(out)[-2:] == ["probabilities/b.nii.gz", "probabilities/c.nii.gz"]
    volume = nib.load(out / "probabilities" / "a.nii.gz")
    assert volume.shape == (9, 7, 6, 2) and volume.get_data_dtype() == np.float32
    values = np.asarray(volume.dataobj)
    np.testing.assert_allclose(values.sum(-1), 1, atol=1e-3)
    expected = 1 / (1 + np.exp(-0.01 * (stored(images / "a.nii.gz") - 500)))  # two logits, the first 0
    np.testing.assert_allclose(values[..., 1], expected, atol=1e-3)


def test_a_broken_case_is_named_and_the_others_are_done(
    run: Callable[..., PredictionOutcome], images: Path, tmp_path: Path
) -> None:
    good = (images / "b.nii.gz").read_bytes()
    (images / "b.nii.gz").write_bytes(good[:300])
    nib.save(nib.Nifti1Image(np.zeros((9, 7, 6, 2)), np.eye(4)), images / "bb.nii.gz")
    lines: list[str] = []
    outcome = run(report=lines.append)
    assert outcome.predicted == ["a", "c"]
    assert list(outcome.failures) == ["b", "bb"]
    assert outcome.failures["b"].startswith(f"b: {images / 'b.nii.gz'}: truncated or damaged gzip")
    assert "found a 4-D array (stored shape 9x7x6x2), expected a 3-D one" in outcome.failures["bb"]
    assert not any("\n" in message for message in outcome.failures.values())
    assert [line[:8] for line in lines] == ["[1/4] a:", "[2/4] fa", "[3/4] fa", "[4/4] c:"]
    assert names(tmp_path / "out") == ["a.nii.gz", "c.nii.gz", "prediction.json"]
    # Mended, and the same again: what was finished is kept, the rest is done.
    (images / "b.nii.gz").write_bytes(good)
    outcome = run()
    assert (outcome.kept, outcome.predicted, list(outcome.failures)) == (["a", "c"], ["b"], ["bb"])


def with_header(path: Path, **fields: Any) -> None:
    """Writes values into a header that nibabel itself would refuse to write."""
    image = nib.load(path)
    header = image.header.copy()
    header["sform_code"], header["qform_code"] = 1, 0
    for name, value in fields.items():
        header[name] = value
    voxels = np.asarray(image.dataobj).tobytes(order="F")
    header["vox_offset"] = 352
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4) + voxels))


def test_a_header_that_no_scanner_writes_stops_no_batch(
    run: Callable[..., PredictionOutcome], images: Path
) -> None:
    with_header(images / "a.nii.gz", srow_x=[1, 0, 0, np.nan])
    with_header(
        images / "b.nii.gz",
        srow_x=[1000, 0, 0, 0],
        srow_y=[0, 1000, 0, 0],
        srow_z=[0, 0, 1000, 0],
        pixdim=[1, 1000, 1000, 1000, 0, 0, 0, 0],
    )
    outcome = run()
    assert outcome.predicted == ["c"] and list(outcome.failures) == ["a", "b"]
    assert "the offset nan" in outcome.failures["a"]
    assert "its image resampled to [9000, 7000, 6000] voxels" in outcome.failures["b"]


def test_a_case_too_large_for_the_memory_is_named(run: Callable[..., PredictionOutcome]) -> None:
    calls = 0

    def network(windows: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")
        return MODEL.network(windows)

    outcome = run(model=replace(MODEL, network=network))
    assert list(outcome.failures) == ["a"] and outcome.predicted == ["b", "c"]
    assert "the memory does not suffice" in outcome.failures["a"]


def test_a_surprise_is_not_swallowed(run: Callable[..., PredictionOutcome]) -> None:
    def network(windows: Any) -> Any:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        run(model=replace(MODEL, network=network))


def test_second_run_keeps_what_is_finished(run: Callable[..., PredictionOutcome], tmp_path: Path) -> None:
    run()
    (tmp_path / "out" / "b.nii.gz").unlink()
    before = (tmp_path / "out" / "a.nii.gz").stat().st_mtime_ns
    outcome = run()
    assert (outcome.kept, outcome.predicted) == (["a", "c"], ["b"])
    assert (tmp_path / "out" / "a.nii.gz").stat().st_mtime_ns == before
    assert run(overwrite=True).predicted == ["a", "b", "c"]
    assert (tmp_path / "out" / "a.nii.gz").stat().st_mtime_ns > before


def test_probabilities_asked_for_later_are_made(
    run: Callable[..., PredictionOutcome], tmp_path: Path
) -> None:
    run()
    assert run(probabilities=True).predicted == ["a", "b", "c"]
    assert run(probabilities=True).kept == ["a", "b", "c"]
    assert run().kept == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"weights": "other"},
            r"out: holds predictions of .*weights\.pt, expected of .*other\.pt .*--overwrite",
        ),
        (
            {"settings": WindowSettings(mirror=True)},
            r"out: holds predictions with mirror False, expected True",
        ),
        (
            {"settings": WindowSettings(overlap=0.25)},
            "predictions with overlap as in training, expected 0.25",
        ),
        ({"largest_component": True}, "predictions with largest_component False, expected True"),
    ],
)
def test_predictions_of_another_kind_are_not_mixed(
    run: Callable[..., PredictionOutcome], tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    run()
    before = {name: (tmp_path / "out" / name).read_bytes() for name in names(tmp_path / "out")}
    with pytest.raises(UserError, match=message):
        run(**options)
    assert before == {name: (tmp_path / "out" / name).read_bytes() for name in names(tmp_path / "out")}
    assert run(**options, overwrite=True).predicted == ["a", "b", "c"]
    assert run(**options).kept == ["a", "b", "c"]


def test_overwriting_that_was_interrupted_does_not_mix_either(
    run: Callable[..., PredictionOutcome], tmp_path: Path
) -> None:
    run()

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(weights="other", overwrite=True, report=stop)
    assert names(tmp_path / "out") == ["a.nii.gz", "b.nii.gz", "c.nii.gz", "prediction.json"]
    outcome = run(weights="other")  # b and c are still of the first weights
    assert (outcome.kept, outcome.predicted) == (["a"], ["b", "c"])


def test_label_maps_of_another_origin_are_not_replaced(
    run: Callable[..., PredictionOutcome], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.nii.gz").write_text("by hand")
    with pytest.raises(UserError, match=r"b\.nii\.gz: exists already, but no prediction\.json says"):
        run()
    assert (tmp_path / "out" / "b.nii.gz").read_text() == "by hand"
    assert run(overwrite=True).predicted == ["a", "b", "c"]


def test_a_damaged_record_is_named(run: Callable[..., PredictionOutcome], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "prediction.json").write_text('{"finished": [')
    with pytest.raises(UserError, match=r"prediction\.json: cannot be read"):
        run()
    (tmp_path / "out" / "prediction.json").write_text('{"checkpoints": {}, "settings": {}, "finished": [1]}')
    with pytest.raises(
        UserError, match=r"earlier run: key 'label_values' is missing; finished\.0: .*, found 1; give"
    ):
        run()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_stops_the_run_and_leaves_no_half_file(
    run: Callable[..., PredictionOutcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    save, num_saved = nib.save, 0

    def fill_up(volume: Any, path: Path) -> None:
        nonlocal num_saved
        save(volume, path)
        num_saved += 1
        if num_saved == 2:
            Path(path).write_bytes(Path(path).read_bytes()[:20])
            raise OSError(code, "No space left on device")

    monkeypatch.setattr(label_map.nib, "save", fill_up)
    with pytest.raises(
        OutputError, match=r"^[^\n]*b\.nii\.gz: the disk is full \(No space left on device\)[^\n]*$"
    ):
        run()
    assert num_saved == 2  # c was not begun
    assert names(tmp_path / "out") == ["a.nii.gz", "prediction.json"]
    monkeypatch.undo()
    outcome = run()
    assert (outcome.kept, outcome.predicted) == (["a"], ["b", "c"])


def test_output_folder_that_cannot_be_made(run: Callable[..., PredictionOutcome], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match=r"out: cannot be written \(File exists\)"):
        run()


@pytest.mark.parametrize(
    ("output", "source", "message"),
    [
        ("images", "images", "images: lies at the input folder"),
        ("images/out", "images", "out: lies in the input folder .*images"),
        ("images/../images/x/y", "images", "lies in the input folder"),
        ("images", "images/a.nii.gz", r"images: is the folder of the input a\.nii\.gz"),
        ("out.nii.gz", "images/a.nii.gz", r"out\.nii\.gz: is a file, expected a folder"),
        ("images/a.nii.gz", "images", r"a\.nii\.gz: is a file, expected a folder"),
    ],
)
def test_output_among_the_inputs_is_refused(
    images: Path, tmp_path: Path, output: str, source: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        refuse_output(tmp_path / output, tmp_path / source)


def test_output_through_a_link_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(images)
    with pytest.raises(UserError, match="lies in the input folder"):
        refuse_output(tmp_path / "link" / "out", images)


@pytest.mark.parametrize(
    ("output", "source"), [("out", "images"), ("images2", "images"), ("images/out", "images/a.nii.gz")]
)
def test_output_elsewhere_is_fine(images: Path, tmp_path: Path, output: str, source: str) -> None:
    refuse_output(tmp_path / output, tmp_path / source)


def test_progress_counts_cases_in_parts(run: Callable[..., PredictionOutcome]) -> None:
    seen: list[tuple[float, int]] = []
    run(progress=lambda done, total: seen.append((done, total)))
    done = [value for value, _ in seen]
    assert done == sorted(done) and done[-1] == 3 and {total for _, total in seen} == {3}
    assert done[:3] == [0.5, 1, 1]  # two windows along the first axis


def test_predict_then_evaluate_agrees_with_the_arrays(demo_set: Path, tmp_path: Path) -> None:
    dataset = read_dataset(demo_set)
    image, _ = load_image(dataset.cases[0], dataset)
    levels = np.quantile(image, [0.5, 0.8, 0.95]).tolist()
    model = StandInModel(
        threshold_network(*levels),
        raw_plan((1.3, 1.1, 1.7), (16, 16, 8)),
        dataset.channel_names,
        dataset.class_names,
        dataset.label_values,
    )
    (tmp_path / "weights").touch()
    scans = find_scans(demo_set, dataset.channel_names, 3, training_cases=True)
    predict_folder(scans, tmp_path / "out", {tmp_path / "weights": model}, WindowSettings())
    from_files = evaluate_folders(dataset, tmp_path / "out").cases

    def from_arrays() -> Any:
        for case in sorted(dataset.cases, key=lambda case: case.case_id):
            image, affine = load_image(case, dataset)
            prediction = predict_case([model], image, affine, case_id=case.case_id)
            reference, _ = load_label(case, dataset)
            yield case.case_id, reference, prediction.label, nib.affines.voxel_sizes(affine).tolist()

    expected = score_cases(from_arrays(), dataset.class_names, 1.0)
    assert expected["dice"].between(0.01, 0.99).any()
    pd.testing.assert_frame_equal(from_files, expected, check_exact=True)
