"""Malformed inputs, made from valid ones: files with hostile values, cut or changed bytes, and bad arguments."""

from __future__ import annotations

import copy
import gzip
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml

from search_space import presets
from uxnet_eval.dataset.msd import read_dataset

from .runs import make_place

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    "",
    "foo",
    "\x1b[31m\u202ered",
    "=cmd|calc!A2",
    "../../etc/passwd",
    "a" * 300,
    "\ud800",
    -1,
    0,
    5,
    1e-300,
    1e308,
    float("nan"),
    float("inf"),
    2**70,
    10**400,
    [],
    {},
    [[]],
    [float("nan")] * 3,
    [1e9] * 3,
    [0, 0, 0],
    {"a": 1},
    list(range(50)),
)
BAD_BYTES: tuple[bytes, ...] = (
    b"",
    b"\x00" * 64,
    b"\xff\xfe{\x00",
    b"\x80abc",
    b"[" * 200_000,
    b"{" * 5_000,
    b'{"a": ' + b"9" * 6_000 + b"}",
    b"a: &x [1]\nb: [" + b"*x," * 50 + b"]",
    b"- !!python/object/apply:os.system [id]",
    b"{unclosed: [",
    b"just a word",
)


@dataclass(frozen=True)
class Malformed:
    """One input: a change of the place, the command that reads it, and whether the command may succeed.

    Attributes:
        name: for the report.
        change: of a fresh copy of the place.
        arguments: of the command, run in the place.
        harmless: the change may be within what is allowed, so exit code 0 is right too.
        absent: a path that must not be there when the command has failed.
    """

    name: str
    change: Callable[[Path], object]
    arguments: tuple[str, ...]
    harmless: bool = True
    absent: str = ""


DOCUMENTS: dict[str, tuple[str, ...]] = {
    # A command that reads the file; where it would compute, its output folder is taken by something else.
    "data/dataset.json": ("check", "data"),
    "train.yml": ("train", "--config", "train.yml", "--output", "taken"),
    "search.yml": ("search", "--config", "search.yml", "--output", "taken"),
    "contest.yml": ("contest", "--config", "contest.yml", "--output", "taken"),
    "genotype.json": (
        "train",
        "--config",
        "train.yml",
        "--output",
        "taken",
        "--architecture",
        "genotype.json",
    ),
    "found/search.json": ("export", "found", "-o", "exported.json"),
    "trained/run.yml": ("compare", "trained", "-o", "compared"),
    "trained/result.json": ("compare", "trained", "-o", "compared"),
}


def prepare(folder: Path, golden: Path) -> Path:
    """The valid inputs: data, configurations, a genotype, and the folders of a search and a training."""
    make_place(folder)
    presets.get("unet", 3).save(folder / "genotype.json")
    shutil.copytree(golden / "search", folder / "found")
    shutil.copytree(golden / "training", folder / "trained")
    (folder / "taken").mkdir()
    (folder / "taken" / "something.txt").write_text("else")
    (folder / "scans").mkdir()
    for case in read_dataset(folder / "data").cases[:1]:
        shutil.copy(case.image, folder / "scans")
    return folder


def all_inputs(place: Path, rng: random.Random) -> list[Malformed]:
    """Every malformed input, in an order that mixes the kinds, so that the first few are of all kinds."""
    found = [*_documents(place, rng), *_scans(place, rng), *_checkpoints(place), *_arguments()]
    rng.shuffle(found)
    return found


def _documents(place: Path, rng: random.Random) -> Iterator[Malformed]:
    for name, arguments in DOCUMENTS.items():
        content = (place / name).read_bytes()
        values = json.loads(content) if name.endswith(".json") else yaml.safe_load(content)
        paths = list(_paths(values))
        for path in rng.sample(paths, min(len(paths), 14)):
            for value in rng.sample(HOSTILE, 3):
                changed = _with(values, path, value)
                yield Malformed(
                    f"{name}: {'.'.join(map(str, path))} = {value!r:.40}",
                    _writes(name, _as_text(name, changed)),
                    arguments,
                )
            yield Malformed(
                f"{name}: {'.'.join(map(str, path))} deleted",
                _writes(name, _as_text(name, _without(values, path))),
                arguments,
            )
        for bad in BAD_BYTES:
            yield Malformed(f"{name}: {bad[:20]!r}", _writes(name, bad), arguments, harmless=False)
        for _ in range(3):
            cut = rng.randrange(1, max(2, len(content) - 2))
            yield Malformed(f"{name}: cut after {cut} bytes", _writes(name, content[:cut]), arguments)
        yield Malformed(f"{name}: a folder", _makes_folder(name), arguments, harmless=False)
        yield Malformed(f"{name}: a loop of links", _makes_loop(name), arguments, harmless=False)


def _scans(place: Path, rng: random.Random) -> Iterator[Malformed]:
    name = next((place / "scans").iterdir()).name
    header = nib.load(place / "data" / "imagesTr" / name).header
    for field in ("dim", "pixdim", "datatype", "vox_offset", "scl_slope", "qform_code", "srow_x", "magic"):
        offset, width = header.template_dtype.fields[field][1], header.template_dtype[field].itemsize
        for filling in (b"\x00", b"\xff", b"\x7f", b"\x01"):
            for kind in ("imagesTr", "labelsTr"):
                target = f"data/{kind}/{name}"
                yield Malformed(
                    f"{target}: header field {field} all {filling!r}",
                    _changes_bytes(target, offset, filling * width),
                    ("check", "data"),
                )
    for target, arguments in (
        (f"data/imagesTr/{name}", ("check", "data")),
        (f"scans/{name}", ("predict", "-i", "scans", "-o", "out", "--checkpoint", "trained/best.pt")),
    ):
        content = (place / target).read_bytes()
        for bad in (
            b"",
            b"\x00" * 400,
            content[:100],
            content[: len(content) // 2],
            b"\x1f\x8b" + b"\x00" * 50,
        ):
            yield Malformed(f"{target}: {len(bad)} bytes", _writes(target, bad), arguments, harmless=False)
        for size in (0, 1, 2):
            shape = (size, 3, 3)
            yield Malformed(f"{target}: {size} slices", _writes_scan(target, np.zeros(shape)), arguments)
        for value in (np.nan, np.inf):
            yield Malformed(
                f"{target}: all {value}", _writes_scan(target, np.full((12, 12, 10), value)), arguments
            )


def _checkpoints(place: Path) -> Iterator[Malformed]:
    path = place / "trained" / "best.pt"
    values = torch.load(path, weights_only=True)
    arguments = ("predict", "-i", "scans", "-o", "out", "--checkpoint", "trained/best.pt")
    edits: list[tuple[tuple[Any, ...], Any]] = [
        *(((key,), value) for key in values for value in (None, "foo", [], -1)),
        *(
            (("dataset", "label_values"), value)
            for value in ([-1, 0, 1, 2], [0], [0, 1, 1, 2], "foo", [0, 1.5, 2, 3])
        ),
        *((("config", "train", "overlap"), value) for value in (5, -1, float("nan"), "foo")),
        *((("config", "runtime", "precision"), value) for value in ("foo", None, 3)),
        *((("plan", "spacing_mm"), value) for value in ([float("nan")] * 3, [0, 1, 1], [1e-5] * 3, [1, 1])),
        *((("plan", "patch_size"), value) for value in ([16000] * 3, [0, 8, 8], [7, 7, 7], [])),
        *((("base_channels",), value) for value in (1e8, 0, float("nan"), "4")),
        *((("max_channels",), value) for value in (1e12, 0)),
        *((("dataset", "class_names"), value) for value in ([], ["a"], [1, 2, 3, 4], "abcd")),
    ]
    weight = next(iter(values["weights"]))
    for value in (
        "foo",
        None,
        torch.zeros(1),
        torch.zeros(3).to_sparse(),
        torch.zeros(2, dtype=torch.complex64),
    ):
        edits.append((("weights", weight), value))
    for path_of_keys, value in edits:
        changed = copy.deepcopy(values)
        inner = changed
        for key in path_of_keys[:-1]:
            inner = inner[key]
        inner[path_of_keys[-1]] = value
        yield Malformed(
            f"best.pt: {'.'.join(map(str, path_of_keys))} = {value!r:.40}",
            _saves("trained/best.pt", changed),
            arguments,
            harmless=path_of_keys[0] in ("scores", "config", "versions"),
            absent="" if path_of_keys[0] == "plan" else "out/prediction.json",
        )


def _arguments() -> Iterator[Malformed]:
    def nothing(_: Path) -> None:
        pass

    settings = (
        "seed=-1", "seed=4294967296", "seed=x", "epochs=0", "epochs=nan", "learning_rate=nan", "learning_rate=-1",
        "batch_size=1000000", "patch_size=[16000,16000,16000]", "spacing_mm=[nan,1,1]", "spacing_mm=0.0001",
        "strides=[[0,1,1]]", "base_channels=1e8", "num_threads=100000000", "num_workers=100000", "device=tpu",
        "precision=foo", "nothing=1", "=1", "seed", "seed=[", "seed=" + "9" * 5000, "epochs=1e999", "\x1b[31m=1",
    )  # fmt: skip
    for command in ("train", "search"):
        for setting in settings:
            yield Malformed(
                f"{command} --set {setting!r:.40}",
                nothing,
                (command, "--config", f"{command}.yml", "--output", "new", "--set", setting),
                harmless=False,
                absent="new/checkpoint.ckpt",
            )
        for output in (
            "/proc/new",
            "/dev/null",
            "train.yml/below",
            "taken",
            "a" * 300,
            "/sys/x",
            "no\x00where",
        ):
            if "\x00" not in output:
                yield Malformed(
                    f"{command} --output {output:.30}",
                    nothing,
                    (command, "--config", f"{command}.yml", "--output", output),
                    harmless=False,
                )
    for arguments in (
        ("check", "/dev/null"), ("check", "/proc/self/mem"), ("check", "nowhere"), ("check", "train.yml"), ("check", ""),
        ("plan", "data", "-o", "/proc/plan.yml"), ("plan", "data", "-o", "nowhere/plan.yml"), ("plan", "data", "-o", "data"),
        ("export", "nowhere", "-o", "x.json"), ("export", "data", "-o", "x.json"), ("export", "found", "-o", "/proc/x"),
        ("export", "found", "-o", "x.json", "--prune-threshold", "nan"), ("draw", "data", "-o", "x.png"),
        ("draw", "genotype.json", "-o", "/proc/x.png"), ("draw", "genotype.json", "-o", "x.foo"),
        ("report", "nowhere"), ("report", "data", "-o", "x.html"), ("compare", "nowhere"), ("front", "found"),
        ("predict", "-i", "nowhere", "-o", "out", "--checkpoint", "trained/best.pt"),
        ("predict", "-i", "scans", "-o", "/proc/out", "--checkpoint", "trained/best.pt"),
        ("predict", "-i", "scans", "-o", "train.yml", "--checkpoint", "trained/best.pt"),
        ("predict", "-i", "scans", "-o", "out", "--checkpoint", "train.yml"),
        ("predict", "-i", "scans", "-o", "out", "--checkpoint", "/dev/null"),
        ("evaluate", "-p", "nowhere", "-r", "data"), ("evaluate", "-p", "scans", "-r", "nowhere"),
        ("train", "--config", "data"), ("train", "--config", "/dev/null"), ("train", "--config", "/proc/self/mem"),
        ("demo-data", "/proc/data"), ("demo-data", "train.yml"), ("launch", "nowhere.yml"), ("launch", "data"),
        ("launch", "genotype.json"), ("launch", "/dev/null"), ("nothing",), ("train", "--nothing"), ("derive", "data"),
    ):  # fmt: skip
        yield Malformed(f"uxnet {' '.join(arguments)}", nothing, arguments, harmless=False)


def _paths(values: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    for key, value in items:
        yield (*before, key)
        yield from _paths(value, (*before, key))


def _with(values: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(values)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def _without(values: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(values)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return changed


def _as_text(name: str, values: Any) -> bytes:
    text = json.dumps(values) if name.endswith(".json") else yaml.safe_dump(values)
    return text.encode("utf-8", errors="surrogatepass")


def _writes(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda place: (place / name).write_bytes(content)


def _makes_folder(name: str) -> Callable[[Path], object]:
    def change(place: Path) -> None:
        (place / name).unlink()
        (place / name).mkdir()

    return change


def _makes_loop(name: str) -> Callable[[Path], object]:
    def change(place: Path) -> None:
        (place / name).unlink()
        (place / name).symlink_to((place / name).name)

    return change


def _changes_bytes(name: str, offset: int, content: bytes) -> Callable[[Path], object]:
    def change(place: Path) -> None:
        unpacked = bytearray(gzip.decompress((place / name).read_bytes()))
        unpacked[offset : offset + len(content)] = content
        (place / name).write_bytes(gzip.compress(bytes(unpacked)))

    return change


def _writes_scan(name: str, voxels: np.ndarray) -> Callable[[Path], object]:
    return lambda place: nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.eye(4)), place / name)


def _saves(name: str, values: Any) -> Callable[[Path], object]:
    return lambda place: torch.save(values, place / name)
