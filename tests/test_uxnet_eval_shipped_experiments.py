"""The shipped experiments: what is listed, and copies that NNI can start from any folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
import yaml
from nni.experiment.config import ExperimentConfig

from search_space import Genotype
from search_space.errors import UserError
from uxnet_eval.nni_experiments.shipped import copy_experiment, list_experiments, shipped_folder

ROOT = Path(__file__).parents[1]
NAMES = sorted(
    path.stem for path in (ROOT / "experiments").glob("*.yml") if not path.name.endswith(".run.yml")
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def trial_words(experiment: Path) -> tuple[Path, list[str]]:
    """The folder in which NNI will start the trials of an experiment, and the words of their command."""
    config = ExperimentConfig.load(experiment).canonical_copy()
    return Path(config.trial_code_directory), shlex.split(config.trial_command)


def genotypes_named(node: object) -> set[str]:
    """Every string below ``node`` that ends like a genotype's file."""
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        return {text for value in node for text in genotypes_named(value)}
    return {node} if isinstance(node, str) and node.endswith(".json") else set()


def test_checkout_lists_its_own_experiments_in_one_line_each() -> None:
    assert shipped_folder() == ROOT / "experiments"
    known = list_experiments()
    assert list(known) == NAMES
    for description in known.values():
        assert description.endswith(".") and not description.startswith("#")


@pytest.mark.parametrize("name", NAMES)
def test_copy_names_only_files_that_are_there(name: str, project: Path) -> None:
    copies = copy_experiment(name, Path("mine"))
    assert copies[0] == Path("mine") / f"{name}.yml"
    folder, words = trial_words(copies[0])
    assert folder == project
    assert words[:3] == [sys.executable, "-m", "uxnet_eval.cli"]
    assert words[4] == "--config" and (folder / words[5]) in {project / path for path in copies}
    for path in copies:
        if path.suffix == ".yml":
            assert "experiments/" not in path.read_text()
            for named in genotypes_named(yaml.safe_load(path.read_text())):
                Genotype.load(folder / named)


def test_genotypes_that_an_experiment_reads_come_along(project: Path) -> None:
    copies = copy_experiment("hippocampus.compare", Path("mine"))
    values = yaml.safe_load(copies[0].read_text())["searchSpace"]["architecture"]["_value"]
    shipped = yaml.safe_load((ROOT / "experiments" / "hippocampus.compare.yml").read_text())
    before = genotypes_named(shipped)
    assert len(before) == 4
    assert genotypes_named(values) == {path.replace("experiments/", "mine/") for path in before}


@pytest.mark.parametrize(
    ("output", "trial_folder", "config"),
    [
        (".", ".", "demo.run.yml"),
        ("a/b", ".", "a/b/demo.run.yml"),
        ("my scans", ".", "my scans/demo.run.yml"),
        ("../elsewhere", "../elsewhere", "demo.run.yml"),
    ],
)
def test_trials_run_in_the_current_folder_if_the_copy_lies_in_it(
    output: str, trial_folder: str, config: str, project: Path
) -> None:
    folder, words = trial_words(copy_experiment("demo", Path(output))[0])
    assert (folder, words[5]) == ((project / trial_folder).resolve(), config)


def test_values_of_a_copy_are_those_of_the_original(project: Path) -> None:
    copy_experiment("brain", Path("mine"))
    for name in ("brain.yml", "brain.run.yml"):
        original = yaml.safe_load((ROOT / "experiments" / name).read_text())
        copy = yaml.safe_load((project / "mine" / name).read_text())
        for place in ("trialCommand", "trialCodeDirectory"):
            original.pop(place, None), copy.pop(place, None)
        assert copy == original


def test_existing_files_are_kept_unless_forced(project: Path) -> None:
    (project / "brain.run.yml").write_text("precious")
    with pytest.raises(UserError, match=r"brain\.run\.yml: exists already"):
        copy_experiment("brain", Path("."))
    assert not (project / "brain.yml").exists()
    copy_experiment("brain", Path("."), force=True)
    assert "precious" not in (project / "brain.run.yml").read_text()


def test_unknown_name_gets_the_nearest(project: Path) -> None:
    with pytest.raises(UserError, match=r"no experiment 'hipocampus' .*did you mean 'hippocampus'"):
        copy_experiment("hipocampus", Path("mine"))


def test_path_that_nni_takes_for_a_comment_is_refused(project: Path) -> None:
    with pytest.raises(UserError, match="expected letters, digits"):
        copy_experiment("brain", Path("scans #2"))
    assert not any(project.iterdir())
