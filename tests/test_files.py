"""How long files are, and that the name of an output file is spelled in one place alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from uxnet_eval.dataset import description
from uxnet_eval.runs import names

ROOT = Path(__file__).parents[1]
PACKAGES = ("search_space", "strategies", "uxnet_eval")
MODULES = sorted(
    path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")
)
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (*PACKAGES, "benchmarks", "docs", "tests")
    for ending in ("py", "js", "css", "html")
    for path in (ROOT / folder).rglob(f"*.{ending}")
)
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)
MAX_LINES, MAX_LINES_OF_TESTS, MAX_LINES_OF_PAGES = 300, 400, 400
DEFINED_IN = {"uxnet_eval/runs/names.py", "uxnet_eval/dataset/description.py"}


def declared_names() -> set[str]:
    """The names of files and folders that :mod:`uxnet_eval.runs.names` and the data set's description define."""
    found: set[str] = {description.DESCRIPTION_NAME}
    for name, value in vars(names).items():
        if name.isupper():
            found |= {value} if isinstance(value, str) else set(value)
    return found


def spelled_names(source: str, declared: set[str]) -> set[str]:
    """The declared names that a module spells as text where it means a file or a folder.

    A file name counts wherever it is a whole string, or ends an f-string's path; the name of a folder is often another
    word too, so it counts only where it is joined to a path.
    """
    files = {name for name in declared if "." in name}
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            last = node.value.rpartition("/")[2]
            if " " not in node.value and last in files:
                found.add(last)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            found |= {
                each.value for each in (node.left, node.right) if isinstance(each, ast.Constant)
            } & declared
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("joinpath", "with_name"):
            found |= {each.value for each in node.args if isinstance(each, ast.Constant)} & declared
    return found


def test_declared_names_sees_single_names_and_tuples() -> None:
    assert {"result.json", "best.pt", "last.pt", "overlays", "local-env", "dataset.json"} <= declared_names()


def test_spelled_names_sees_every_form() -> None:
    declared = {"result.json", "final", "trials"}
    spelled = [
        "path = folder / 'result.json'",
        "path = f'{folder}/result.json'",
        "NAMES = ('result.json',)",
        "path = folder.joinpath('result.json')",
    ]
    assert all(spelled_names(source, declared) == {"result.json"} for source in spelled)
    assert spelled_names("a / 'final' / 'x'", declared) == {"final"}
    assert spelled_names("a.joinpath('trials', name)", declared) == {"trials"}
    assert spelled_names("'writes result.json'; values['final']; total / 3", declared) == set()


@pytest.mark.parametrize("module", [name for name in MODULES if name not in DEFINED_IN])
def test_names_of_files_are_spelled_in_one_place(module: str) -> None:
    found = spelled_names((ROOT / module).read_text(), declared_names())
    assert not found, f"{module}: take {sorted(found)} from uxnet_eval.runs.names"


@pytest.mark.parametrize("source", SOURCES)
def test_no_file_is_too_long(source: str) -> None:
    num_lines = len((ROOT / source).read_text().splitlines())
    most = MAX_LINES_OF_TESTS if source.startswith("tests/") else MAX_LINES
    assert num_lines <= most, f"{source}: {num_lines} lines; divide it by concepts"


@pytest.mark.parametrize("page", PAGES)
def test_no_page_is_too_long(page: str) -> None:
    """A page that an edit has spoiled, by repeating a paragraph, is far longer."""
    num_lines = len((ROOT / page).read_text().splitlines())
    assert num_lines <= MAX_LINES_OF_PAGES, f"{page}: {num_lines} lines"
