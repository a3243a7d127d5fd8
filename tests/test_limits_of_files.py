"""Files that ask for memory, time or recursion: one clear line, before anything is allocated."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from search_space.errors import UserError
from search_space.genotype import Genotype
from search_space.reading import read_json, read_yaml
from uxnet_eval.config.plan import Plan
from uxnet_eval.config.search import RunConfig
from uxnet_eval.dataset.image_file import read_file
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.preprocessing.case_grid import case_grid
from uxnet_eval.runs import archive, verified_reading
from uxnet_eval.runs.archive import check_archive
from uxnet_eval.runs.folder import open_run_folder
from uxnet_eval.runs.tensors import read_tensors
from uxnet_eval.runs.verified_reading import CHUNK_BYTES, load_verified

PLAN = {"spacing_mm": [1.0] * 3, "patch_size": [16, 16, 16], "strides": [[2, 2, 2]], "batch_size": 1}


# Text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_json, read_yaml])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 200_000, "nested too deep"),
        (b"1" * 6000, "4300 digits"),
        (b'"\xe9"', "not UTF-8 at byte 1"),
        (bytes(range(256)), "not UTF-8"),
        (b"\x00\x01", "unacceptable character|Expecting value"),
    ],
)
def test_text_that_breaks_a_parser(tmp_path: Path, read, content: bytes, message: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(file)


def test_yaml_that_stands_for_a_thousand_times_as_much(tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    lines = ["a0: &a0 [1, 1]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    file.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"run\.yml: not YAML \(more than 20 aliases"):
        RunConfig.load(file)
    file.write_text("a: &a [1, 1]\nb: *a\n")
    assert read_yaml(file) == {"a": [1, 1], "b": [1, 1]}


def test_text_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "run.yml").write_text("#" * (2**20 + 1))
    with pytest.raises(UserError, match="larger than 1 MiB"):
        RunConfig.load(tmp_path / "run.yml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tensorImageSize": ["3D"]}, r"tensorImageSize is \['3D'\]"),
        ({"labels": {"0": "background", "99999999999999999999": "organ"}}, "the largest number is 65535"),
        ({"labels": {"0": "background", "9" * 6000: "organ"}}, "the largest number is 65535"),
    ],
)
def test_dataset_json(tmp_path: Path, changes: dict, message: str) -> None:
    description = {
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "organ"},
        "training": [{"image": "a.nii.gz", "label": "b.nii.gz"}],
    }
    (tmp_path / "dataset.json").write_text(json.dumps({**description, **changes}))
    with pytest.raises(UserError, match=message) as caught:
        read_dataset(tmp_path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"levels": ' + "1" * 5000 + "}", '{"levels": 1000000000}']
)
def test_genotype(tmp_path: Path, content: str) -> None:
    (tmp_path / "genotype.json").write_text(content)
    with pytest.raises(UserError, match=r"genotype\.json: "):
        Genotype.load(tmp_path / "genotype.json")


# Numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spacing_mm": [float("nan")] * 3}, "finite"),
        ({"spacing_mm": [float("inf")] * 3}, "finite"),
        ({"spacing_mm": [1e9, 1.0, 1.0]}, "up to 10000"),
        ({"patch_size": [16000] * 3}, "up to 10000"),
        ({"patch_size": [8000] * 3}, r"a batch of 1 patches .* at least 3.81e\+03 GiB"),
        ({"batch_size": 4096, "patch_size": [512] * 3}, "a batch of 4096 patches .* GiB that are free"),
        ({"batch_size": 10**6}, "less than or equal to 4096"),
        ({"batch_size": 10**30}, "less than or equal|at most"),
        ({"strides": [[0, 2, 2]]}, "1 or 2 along each axis"),
        ({"strides": [[2, 2, 2]] * 100}, "at most 12 levels"),
    ],
)
def test_plan(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Plan.parse({**PLAN, **changes}, "plan")


@pytest.mark.parametrize(
    "setting",
    [
        {"seed": 2**32},
        {"split_seed": 2**32},
        {"num_threads": 10**8},
        {"num_workers": 10**5},
        {"base_channels": 10**8},
        {"max_channels": 10**8},
        {"epochs": 10**9},
        {"learning_rate": float("inf")},
        {"learning_rate": float("nan")},
    ],
)
def test_settings_have_upper_bounds(setting: dict) -> None:
    config = RunConfig.parse({"dataset": "x", "plan": PLAN}, "run.yml")
    with pytest.raises(UserError, match=next(iter(setting))):
        config.override(setting, "--set")


def test_resampling_beyond_the_memory() -> None:
    with pytest.raises(UserError, match=r"case_1: its image resampled to .* voxels .* GiB that are free"):
        case_grid("case_1", (64, 64, 64), np.diag([1000.0, 1000, 1000, 1]), (0.1, 0.1, 0.1))
    with pytest.raises(UserError, match="case_1: its image resampled"):
        case_grid("case_1", (64, 64, 64), np.eye(4), (0.0001,) * 3)


# Images ----------------------------------------------------------------------------------------------------------


def _nifti(path: Path, affine: np.ndarray | None = None, behind: bytes = b"") -> Path:
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4) if affine is None else affine)
    path.write_bytes(gzip.compress(image.to_bytes() + behind, 1))
    return path


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.array([[1, 0, 0, np.nan], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "the offset nan"),
        (np.array([[1, 0, 0, np.inf], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "the offset inf"),
        (np.diag([1e5, 1, 1, 1.0]), r"found spacing .* at most 10000 mm"),
        (np.diag([1e9, 1e9, 1e9, 1.0]), r"found spacing .* at most 10000 mm"),
    ],
)
def test_headers_no_scanner_writes(tmp_path: Path, affine: np.ndarray, message: str) -> None:
    path = tmp_path / "a.nii.gz"
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4))
    image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = affine[:3]
    image.header["pixdim"][1:4] = np.abs(np.diag(affine)[:3])
    image.header["sform_code"] = 1
    path.write_bytes(gzip.compress(image.header.binaryblock + b"\0" * 4 + b"\0" * 256))
    with pytest.raises(UserError, match=rf"^a: .*{message}"):
        read_file("a", path, 3)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("size", [1100, 30000])
def test_a_header_that_claims_gigabytes(tmp_path: Path, suffix: str, size: int) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((size,) * 3)
    content = header.binaryblock + b"\0" * 4096
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"^a: .*the file holds at most"):
        read_file("a", path, 3)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_gigabytes_behind_the_voxels(tmp_path: Path) -> None:
    path = _nifti(tmp_path / "a.nii.gz", behind=bytes(2**25))
    tracemalloc.start()
    with pytest.raises(UserError, match="more than 16 MiB lie behind the voxels"):
        read_file("a", path, 3)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    read_file("b", _nifti(tmp_path / "b.nii.gz", behind=bytes(2**20)), 3)


def test_a_picture_of_a_billion_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("1", (20000, 20000)).save(path)
    with pytest.raises(UserError, match=r"^a: .*decompression bomb"):
        read_file("a", path, 2)


# Archives --------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_in_weights_is_found(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save({"weights": {"a": torch.ones(1000)}}, path)
    check_archive(path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(4).numpy().tobytes()) + 3] ^= 0x80  # the sign of a weight
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["weights"]["a"].min() == -1  # PyTorch says nothing
    with pytest.raises(UserError, match=r"best\.pt: is truncated, damaged .*checksum of .*data/0 is wrong"):
        read_tensors(path)
    with pytest.raises(ValueError, match=r"damaged: the checksum of .*data/0 is wrong"):
        check_archive(path)


def _zipfile_finds(path: Path) -> bool:
    """What the standard library would refuse."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is not None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError, ValueError):
        return True


def test_wherever_a_bit_is_flipped_no_less_is_found_than_by_the_standard_library(tmp_path: Path) -> None:
    path = tmp_path / "größe.pt"  # the name is in every entry
    torch.save({"a": torch.arange(20.0), "b": torch.ones(3)}, path)
    whole = path.read_bytes()
    check_archive(path)
    assert torch.equal(load_verified(path)["a"], torch.arange(20.0))
    num_found = 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        if _zipfile_finds(path):
            num_found += 1
            for read in (check_archive, load_verified):
                with pytest.raises(ValueError, match=r"damaged|unpacks"):
                    read(path)
    assert num_found > 500


def test_a_file_is_verified_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, checked = tmp_path / "a.pt", []
    checksum = archive.crc32
    monkeypatch.setattr(archive, "crc32", lambda content: checked.append(1) or checksum(content))
    torch.save({"a": torch.ones(3)}, path)
    check_archive(path)
    first = len(checked)
    check_archive(path)
    assert first and len(checked) == 2 * first  # so new that its time would not tell a change
    monkeypatch.setattr(archive, "CLOCK_TICK_NS", 0)
    check_archive(path)
    checked.clear()
    check_archive(path)
    assert not checked
    content = path.read_bytes()
    os.replace(tmp_path / "a.pt", tmp_path / "b.pt")
    path.write_bytes(content)  # another file of the same name and size
    check_archive(path)
    assert len(checked) == first


def test_an_archive_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("best/data.pkl", bytes(2**26))
    with pytest.raises(UserError, match="unpacks to 67108864 bytes, more than the file holds"):
        read_tensors(path)


def test_weights_are_verified_in_the_one_pass_that_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is larger than a chunk, and nothing large is read apart from the load."""
    path, rest = tmp_path / "a.pt", []
    weights = {"large": torch.randn(CHUNK_BYTES), "small": torch.ones(3), "none": torch.ones(0)}
    torch.save(weights, path)
    check = verified_reading._VerifiedFile.check_rest
    monkeypatch.setattr(
        verified_reading._VerifiedFile,
        "check_rest",
        lambda file: rest.extend(entry.file_size for entry in file._unread.values()) or check(file),
    )
    read = load_verified(path)
    assert all(torch.equal(read[name], weights[name]) for name in weights)
    assert max(rest) < 100


# A run's folder --------------------------------------------------------------------------------------------------


def _checkpoint(path: Path, epoch: int, damaged: bool = False) -> None:
    torch.save({"epoch": epoch, "weights": torch.ones(100)}, path)
    if damaged:
        content = bytearray(path.read_bytes())
        content[content.index(torch.ones(4).numpy().tobytes())] ^= 1
        path.write_bytes(content)


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def opened() -> Path | None:
        state = open_run_folder(tmp_path, "seed: 0\n", {}, is_trial=False)
        assert state is None or state.content["epoch"] == (2 if state.path == newest else 1)
        return state and state.path

    newest, previous = tmp_path / "checkpoint.ckpt", tmp_path / "checkpoint.previous.ckpt"
    assert opened() is None
    _checkpoint(previous, 1)
    assert opened() == previous  # killed between two renames
    _checkpoint(newest, 2)
    assert opened() == newest
    _checkpoint(newest, 2, damaged=True)
    assert opened() == previous
    assert "checkpoint.ckpt: is truncated, damaged" in caplog.text
    _checkpoint(previous, 1, damaged=True)
    with pytest.raises(
        UserError, match=r"checkpoint\.ckpt: .*checkpoint\.previous\.ckpt: .*start the run again"
    ):
        open_run_folder(tmp_path, "seed: 0\n", {}, is_trial=False)


def test_run_yml_says_with_how_many_processes_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes of further devices read it; they leave the folder to the first one."""
    one, two = (f"seed: 0\nruntime: {{devices: {number}}}\n" for number in (1, 2))
    (tmp_path / "tensorboard").mkdir()  # of a further process that was faster
    open_run_folder(tmp_path, one, {}, is_trial=False)
    _checkpoint(tmp_path / "checkpoint.ckpt", 1)
    assert open_run_folder(tmp_path, two, {}, is_trial=False) is not None
    assert (tmp_path / "run.yml").read_text() == two
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert open_run_folder(tmp_path, one, {}, is_trial=False) is not None
    assert (tmp_path / "run.yml").read_text() == two


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"seed: [", b"- 1"])
def test_a_damaged_run_yml_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.yml").write_bytes(content)
    with pytest.raises(UserError, match=r"run\.yml: the configuration of the run is damaged"):
        open_run_folder(tmp_path, "seed: 0\n", {}, is_trial=False)


def test_traceback_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from uxnet_eval import cli

    monkeypatch.setattr("sys.argv", ["uxnet", "check", str(tmp_path)])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("uxnet: error: ")
    monkeypatch.setattr("sys.argv", ["uxnet", "--traceback", "check", str(tmp_path)])
    with pytest.raises(UserError):
        cli.main()
