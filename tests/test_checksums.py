"""Files that are read back carry a checksum: a flipped bit is one line, never another result."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search_space import Genotype, presets
from search_space.checksum import CHECKSUM, with_checksum, without_checksum
from search_space.errors import UserError
from search_space.reading import read_json
from uxnet_eval.config.plan import Plan
from uxnet_eval.dataset.demo_data import make_demo_data
from uxnet_eval.dataset.folds import store_folds
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.preprocessing.prepared_cases import PreparedCases
from uxnet_eval.report.scored_cases import read_scores
from uxnet_eval.runs.files import write_json
from uxnet_eval.runs.front_record import FrontRecord
from uxnet_eval.runs.overlays import read_overlays
from uxnet_eval.runs.result import read_result
from uxnet_eval.runs.search_record import SearchRecord

GOLDEN = Path(__file__).parent / "golden"
DEEP = "[" * 200_000


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert text.count(before) >= 1
    path.write_text(text.replace(before, after, 1))


def test_the_checksum_is_of_the_values_and_not_of_their_form() -> None:
    values = {"b": (1, 2.5), "a": {3: "x"}, "c": float("inf"), "d": 0.1 + 0.2}
    sealed = with_checksum(values)
    reordered = json.loads(json.dumps(dict(reversed(sealed.items())), indent=7))
    assert without_checksum(reordered) == json.loads(json.dumps(values))
    for key, value in {"b": [1, 2.6], "c": 1e308, "d": 0.3}.items():
        with pytest.raises(ValueError, match="does not match its checksum"):
            without_checksum({**reordered, key: value})
    with pytest.raises(ValueError, match="does not match its checksum"):
        without_checksum({key: value for key, value in reordered.items() if key != "a"})
    assert without_checksum(dict(values)) == values  # no checksum: written by hand, or by an older program


def test_a_genotype_with_another_operation_is_refused_unless_its_checksum_is_deleted(tmp_path: Path) -> None:
    path, genotype = tmp_path / "genotype.json", presets.get("unet", 3)
    genotype.save(path)
    assert Genotype.load(path) == genotype and Genotype.load(path).provenance == genotype.provenance
    values = json.loads(path.read_text())
    assert set(values) == {
        "format",
        "version",
        "levels",
        "edges",
        "operations",
        "provenance",
    }  # as 0.1.0 reads it
    change(path, '"2xconv3"', '"conv3"')
    with pytest.raises(
        UserError, match=rf"genotype\.json: does not match its checksum: .*delete its {CHECKSUM}\)"
    ):
        Genotype.load(path)
    values = json.loads(path.read_text())
    del values["provenance"][CHECKSUM]
    path.write_text(json.dumps(values))
    assert Genotype.load(path) != genotype


def test_records_of_runs_with_another_digit_are_refused(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "search", tmp_path / "run")
    record = SearchRecord.load(tmp_path / "run")  # an old file, without a checksum
    record.save(tmp_path / "run")
    assert SearchRecord.load(tmp_path / "run") == record
    change(tmp_path / "run" / "search.json", '"prune_threshold": 0.75', '"prune_threshold": 0.74')
    with pytest.raises(UserError, match=r"search\.json: does not match its checksum"):
        SearchRecord.load(tmp_path / "run")

    front = FrontRecord(multiply_adds=1e9)
    front.save(tmp_path)
    assert FrontRecord.load(tmp_path) == front
    change(tmp_path / "front.json", "1000000000.0", "1000000001.0")
    with pytest.raises(UserError, match=r"front\.json: does not match its checksum"):
        FrontRecord.load(tmp_path)

    write_json(tmp_path / "result.json", {"default": 0.5})
    assert read_result(tmp_path, ("default",)) == {"default": 0.5}
    change(tmp_path / "result.json", "0.5", "0.7")
    with pytest.raises(UserError, match=r"result\.json: the result is damaged \(does not match its checksum"):
        read_result(tmp_path)


def test_folds_with_another_case_are_refused(demo_set: Path, tmp_path: Path) -> None:
    dataset = read_dataset(demo_set)
    for _ in range(2):
        store_folds(tmp_path, dataset, fold=0, num_folds=4, seed=0)
    change(tmp_path / "folds.json", "demo_001", "demo_002")
    with pytest.raises(UserError, match=r"folds\.json: damaged \(does not match its checksum"):
        store_folds(tmp_path, dataset, fold=0, num_folds=4, seed=0)


def test_a_damaged_prepared_case_is_prepared_anew(
    demo_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = read_dataset(demo_set)
    plan = Plan(spacing_mm=(1, 1, 1), patch_size=(16, 16, 16), strides=((2, 2, 2),), batch_size=2)
    whole = PreparedCases(dataset.cases[:1], dataset, plan, cache_dir=tmp_path)[0]["image"].clone()
    [path] = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x80
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # PyTorch does not notice
    prepared = PreparedCases(dataset.cases[:1], dataset, plan, cache_dir=tmp_path)
    assert torch.equal(prepared[0]["image"], whole)
    assert re.search(
        r"demo_000-.*\.pt: damaged: the checksum of .* is wrong; the case is prepared anew", caplog.text
    )
    caplog.clear()
    assert torch.equal(prepared[0]["image"], whole) and not caplog.text  # the file is whole again


@pytest.mark.parametrize(
    "content", [DEEP, "{", "[]", '{"classes": 3}', "\x00", '{"format": "uxnet-overlays"}']
)
def test_what_a_report_cannot_read_is_a_note(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "overlays"
    folder.mkdir()
    (folder / "overlays.json").write_text(content)
    notes: list[str] = []
    assert read_overlays(tmp_path, notes) is None
    [note] = notes
    assert "overlays.json: the overlays cannot be shown" in note and "\n" not in note

    (tmp_path / "cases.csv").write_text(
        "case_id,class,dice,hd95_mm,nsd,volume,reference_volume\na,b,1,1,1,1,1\n"
    )
    (tmp_path / "summary.json").write_text(content)
    notes = []
    scores = read_scores(tmp_path, notes)
    assert len(notes) == 1 and "\n" not in notes[0]
    assert scores is None or scores["summary"] is None


@pytest.mark.parametrize("content", ["", "{", DEEP, "[1]", "null", '{"default": 0.5', '{"minutes": 1}'])
def test_half_a_result_is_not_taken_for_done(tmp_path: Path, content: str) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(UserError, match=r"result\.json: the result is damaged \(.*\); delete it") as caught:
        read_result(tmp_path, ("default",))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [DEEP, "{", "[]", '{"demo_settings": 1}'])
def test_a_folder_of_something_else_is_not_taken_for_demo_data(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(UserError, match="holds something that is no demo set"):
        make_demo_data(tmp_path)


@pytest.mark.parametrize("write", [write_json, lambda path, values: path.write_text(json.dumps(values))])
def test_files_with_and_without_a_checksum_are_read(
    tmp_path: Path, write: Callable[[Path, dict[str, int]], object]
) -> None:
    write(tmp_path / "a.json", {"x": 1})
    assert read_json(tmp_path / "a.json") == {"x": 1}
