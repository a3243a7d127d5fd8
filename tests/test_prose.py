"""The prose of the project: how docstrings begin, and how wide its lines are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("search_space", "strategies", "uxnet_eval")
    for path in (ROOT / package).rglob("*.py")
)
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
MAX_WIDTH = 100


def docstrings(source: str) -> list[str]:
    """Every string that stands as a statement: docstrings of modules, classes, functions, fields."""
    return [
        node.value.value.strip()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


def wide_lines(text: str) -> list[str]:
    """Lines of Markdown wider than 100 characters; tables, code, images and links alone cannot be wrapped."""
    found, in_code = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif (
            len(line) > MAX_WIDTH and not in_code and not line.startswith(("|", "!")) and " " in line.strip()
        ):
            found.append(line)
    return found


def test_docstrings_sees_every_form() -> None:
    source = '"""A."""\nclass B:\n    """C."""\n    d: int = 0\n    """Of e."""\n    def f(self):\n        """G."""\n'
    assert sorted(docstrings(source)) == ["A.", "C.", "G.", "Of e."]


def test_wide_lines_leaves_out_what_cannot_be_wrapped() -> None:
    wide = "word " * 21
    assert wide_lines(f"{wide}\n| {wide} |\n![{wide}](a.png)\n```\n{wide}\n```\n{'x' * 101}\nshort") == [wide]


@pytest.mark.parametrize("module", MODULES)
def test_docstrings_are_no_fragments(module: str) -> None:
    found = [text for text in docstrings((ROOT / module).read_text()) if text.startswith("Of ")]
    assert not found, f"{module}: say what it is, as in 'Seed of the split.': {found}"


@pytest.mark.parametrize("page", PAGES)
def test_lines_of_pages_are_at_most_100_wide(page: str) -> None:
    assert not wide_lines((ROOT / page).read_text())
