"""Who may import whom: the directions between the packages, and what a newcomer need not have loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[1]
PACKAGES = ("search_space", "strategies", "uxnet_eval")
MODULES = sorted(
    path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")
)
FORBIDDEN = {
    "search_space": {"strategies", "uxnet_eval"},
    "strategies": {"uxnet_eval"},
    "uxnet_eval": set(),
}
ORDER = (
    "extras",
    "runs",
    "dataset",
    "conversion",
    "architectures",
    "config",
    "nni_guards",
    "remote",
    "slurm",
    "nni_experiments",
    "preprocessing",
    "planning",
    "recipe",
    "networks",
    "evaluation",
    "prediction",
    "drawing",
    "report",
    "search",
    "training",
    "contest",
    "comparison",
    "paper_tables",
    "auto",
    "exports",
    "demo",
    "commands",
    "cli",
)
"""The rooms of ``uxnet_eval``, lowest first: each imports only from those before it."""
MAY_IMPORT_NNI = (
    "search_space/nni_first.py",
    "search_space/space.py",
    "strategies/",
    "uxnet_eval/nni_guards/",
    "uxnet_eval/nni_experiments/launch.py",
    "uxnet_eval/nni_experiments/other_machines.py",  # the type of NNI's configuration, as in the next
    "uxnet_eval/remote/machines.py",
    "uxnet_eval/slurm/launch.py",
    "uxnet_eval/slurm/parameters.py",  # NNI's tuners give the parameters
    "uxnet_eval/search/run.py",  # a trial hands the strategy to NNI's engine
    "uxnet_eval/search/module.py",  # the strategies want NNI's Lightning module
)


def imported_packages(source: str) -> set[str]:
    """Top-level names of every absolute import in ``source``, those inside functions included."""
    found: set[str] = set()
    for statement in ast.walk(ast.parse(source)):
        if isinstance(statement, ast.Import):
            found |= {alias.name.split(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0 and statement.module:
            found.add(statement.module.split(".")[0])
    return found


def test_imported_packages_sees_every_form() -> None:
    source = "import a.b\nfrom c.d import e\nfrom . import f\nfrom .g import h\ndef i():\n    import j as k\n"
    assert imported_packages(source) == {"a", "c", "j"}


@pytest.mark.parametrize("module", MODULES)
def test_direction_between_packages(module: str) -> None:
    imported = imported_packages((ROOT / module).read_text())
    assert not imported & FORBIDDEN[module.split("/")[0]]


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith(MAY_IMPORT_NNI)])
def test_nni_stays_behind_its_modules(module: str) -> None:
    assert "nni" not in imported_packages((ROOT / module).read_text())


def imported_rooms(module: str, source: str) -> set[str]:
    """The rooms of ``uxnet_eval`` that a module imports from, but for its own; imports inside functions included."""
    package = list(Path(module).parts[:-1])
    found: set[str] = set()
    for statement in ast.walk(ast.parse(source)):
        if isinstance(statement, ast.ImportFrom) and statement.level:
            base = package[: len(package) - statement.level + 1]
            named = statement.module.split(".") if statement.module else []
            names = [named] if named else [[alias.name] for alias in statement.names]
            targets = [base + name for name in names]
        elif isinstance(statement, ast.ImportFrom):
            targets = [[*(statement.module or "").split("."), alias.name] for alias in statement.names]
        elif isinstance(statement, ast.Import):
            targets = [alias.name.split(".") for alias in statement.names]
        else:
            continue
        found |= {target[1] for target in targets if target[0] == "uxnet_eval" and len(target) > 1}
    return found - {room_of(module)}


def room_of(module: str) -> str:
    """The folder, or the name of a module that lies directly in ``uxnet_eval``."""
    return Path(module).parts[1].removesuffix(".py")


def test_imported_rooms_sees_every_form() -> None:
    source = (
        "from ..a import b\nfrom .. import c\nfrom .own import d\nimport uxnet_eval.e.f\nfrom uxnet_eval.g import h\n"
        "def i():\n    from ..j.k import l\n"
    )
    assert imported_rooms("uxnet_eval/room/module.py", source) == {"a", "c", "e", "g", "j"}
    assert imported_rooms("uxnet_eval/demo.py", "from .a import b\nfrom . import c\n") == {"a", "c"}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("uxnet_eval/")])
def test_rooms_import_downward_only(module: str) -> None:
    """With an order of all rooms, there can be no cycle between folders."""
    room = room_of(module)
    imported = imported_rooms(module, (ROOT / module).read_text())
    if room == "__init__":
        assert not imported
        return
    assert room in ORDER, f"{room} is new: give it a place in ORDER"
    upward = {name for name in imported if ORDER.index(name) > ORDER.index(room)}
    assert not upward, f"{module} imports from {sorted(upward)}, which come after {room} in ORDER"


def loaded_packages(code: str, names: tuple[str, ...]) -> set[str]:
    """Those of ``names`` that a fresh Python has loaded after it ran ``code``."""
    script = f"{code}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True, timeout=600
    )
    return set(run.stdout.split())


def test_loaded_packages_notices() -> None:
    assert loaded_packages("import json", ("json", "torch")) == {"json"}


@pytest.mark.parametrize(
    "code",
    [
        "import search_space.grid, search_space.operations, search_space.genotype, search_space.presets",
        "from search_space import Genotype, SearchSpaceConfig, presets; presets.get('unet')",
        "import strategies.pruning",
        "import uxnet_eval.config.search",
    ],
)
def test_no_torch_for_graph_logic_and_configuration(code: str) -> None:
    assert loaded_packages(code, ("torch", "nni", "monai")) == set()


def test_uxnet_help_answers_at_once() -> None:
    """Without what takes long to load."""
    names = ("typer", "torch", "nni", "monai", "pydantic", "numpy", "yaml")
    assert loaded_packages("import uxnet_eval.cli", names) == {"typer"}


def test_predict_starts_without_what_it_does_not_need() -> None:
    """Half of its start-up is MONAI's; Lightning alone would take two seconds more."""
    code = "from uxnet_eval.networks.exported import open_model\n"
    code += "from uxnet_eval.prediction.folder_prediction import predict_folder\n"
    code += "from uxnet_eval.prediction.dicom_prediction import predict_series"
    names = ("torch", "monai", "pytorch_lightning", "SimpleITK", "onnxruntime", "onnx", "highdicom")
    assert loaded_packages(code, names) == {"torch", "monai"}


def test_package_offers_what_it_names() -> None:
    code = "import search_space\nassert all(hasattr(search_space, name) for name in search_space.__all__)"
    assert loaded_packages(code, ("torch", "nni")) == {"torch", "nni"}


def test_fixed_network_needs_no_nni() -> None:
    code = "from search_space import UXNet; import search_space.network"
    assert loaded_packages(code, ("torch", "nni", "strategies", "uxnet_eval")) == {"torch"}


def test_setup_finds_every_package() -> None:
    folders = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in map(ROOT.joinpath, MODULES)
    }
    assert folders == set(find_packages(str(ROOT), include=[f"{package}*" for package in PACKAGES]))
