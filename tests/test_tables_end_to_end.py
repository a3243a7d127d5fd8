"""The experiments of the paper's tables on real data for a few steps: from the searches to the finished table."""

from __future__ import annotations

import csv
import json
import resource
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
import yaml

from search_space import Genotype
from uxnet_eval.commands.table import print_and_write
from uxnet_eval.contest.run import run_contest
from uxnet_eval.conversion.isic import convert_isic
from uxnet_eval.search.run import run_search

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
SHORT: dict[str, dict[str, Any]] = {
    "space": {"base_channels": 4},
    "search": {"epochs": 2, "steps_per_epoch": 1, "warmup_epochs": 1, "validate_every": 2},
    "choice": {"num_measured": 2, "population": 2, "finetune_steps": 1},
    "train": {"epochs": 1, "steps_per_epoch": 2},
    "runtime": {"num_workers": 1, "num_threads": 1},
}
"""In place of the experiments' own settings, which are made for a GPU."""


def finished_table(name: str, number: int, dataset: Path, folder: Path, **plan: Any) -> list[dict[str, str]]:
    """Runs every row of a table on one fold; the lines of the table's CSV file."""
    values = yaml.safe_load((EXPERIMENTS / f"{name}.table.run.yml").read_text())
    values |= {"dataset": str(dataset), "plan": values["plan"] | plan}
    values |= {section: values.get(section, {}) | settings for section, settings in SHORT.items()}
    config = folder / "short.run.yml"
    config.write_text(yaml.safe_dump(values))
    experiment = yaml.safe_load((EXPERIMENTS / f"{name}.table{number}.yml").read_text())
    contenders = experiment["searchSpace"]["contender"]["_value"]
    for contender in contenders:
        run_contest(config, output=folder / "runs" / contender, overrides={"contender": contender})
    print_and_write([str(folder / "runs")], folder / "tables")
    assert [path.name for path in sorted((folder / "tables").glob("*.md"))] == [f"table{number}.md"]
    rows = list(csv.DictReader((folder / "tables" / f"table{number}.csv").read_text().splitlines()))
    assert {row["contender"] for row in rows if row["num_runs"] == "1"} == set(contenders)
    budget = float(rows[0]["multiply_adds"])
    for row in rows:
        if row["num_runs"] == "1":
            assert 0 <= float(row["dice_mean"]) <= 1
            assert float(row["multiply_adds"]) == pytest.approx(budget, rel=0.35)  # at 4 channels no nearer
            is_searched = row["contender"].startswith(("paper", "scnas", "ronasmis"))
            assert (float(row["search_minutes"]) > 0) == is_searched
    return rows


@pytest.mark.slow
@pytest.mark.long
def test_skin_lesions_from_the_published_folder_to_table_1(dermoscopy: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "ISIC2018"
    convert_isic(dermoscopy, dataset, short_side=64)
    rows = finished_table("isic", 1, dataset, tmp_path, patch_size=[64, 64], batch_size=2)
    assert {row["published_data"] for row in rows} == {"brain"}  # the paper's table 1 is of brains alone
    assert rows[0]["published_dice_percent"] == "72.5" and rows[0]["data"] == "ISIC2018"
    settings = yaml.safe_load((tmp_path / "runs" / "paper" / "search" / "run.yml").read_text())
    assert (settings["search"]["left_out_fold"], settings["plan"]["spatial_dims"]) == (0, 2)


@pytest.mark.slow
@pytest.mark.long
def test_skin_lesions_are_searched(dermoscopy: Path, tmp_path: Path) -> None:
    convert_isic(dermoscopy, tmp_path / "ISIC2018")
    changes = {
        name: value for section in ("space", "search", "runtime") for name, value in SHORT[section].items()
    }
    output = run_search(
        EXPERIMENTS / "isic.run.yml",
        output=tmp_path / "out",
        overrides={"dataset": str(tmp_path / "ISIC2018"), "batch_size": 1, **changes},
    )
    genotype = Genotype.load(output / "genotype.json")
    assert genotype.levels == 5 and genotype.provenance["spatial_dims"] == 2


@pytest.fixture
def coarse_brains(brats: Path, tmp_path: Path) -> Path:
    """Real brains, every fourth voxel, under the Decathlon's name; the first one stands in twice, for five folds."""
    folder = tmp_path / "Task01_BrainTumour"
    description = json.loads((brats / "dataset.json").read_text())
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    cases = [*description["training"], description["training"][0]]
    description |= {"training": [], "numTraining": len(cases)}
    for number, case in enumerate(cases):
        files = {
            key: f"{name}/brain{number}.nii.gz"
            for key, name in (("image", "imagesTr"), ("label", "labelsTr"))
        }
        for key, file in files.items():
            nib.save(nib.load(brats / case[key]).slicer[::4, ::4, ::4], folder / file)
        description["training"].append(files)
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


@pytest.mark.slow
@pytest.mark.long
def test_table_2_on_real_brains(coarse_brains: Path, tmp_path: Path) -> None:
    rows = finished_table("brain", 2, coarse_brains, tmp_path, spacing_mm=[4] * 3, patch_size=[48] * 3)
    assert [row["published_dice_percent"] for row in rows][:3] == ["72.5", "74.0", "72.66"]
    assert [row["contender"] for row in rows][-3:] == ["unet++", "res-unet", "dla"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 16 * 2**20  # KiB
