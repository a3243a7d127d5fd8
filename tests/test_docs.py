"""The documentation names only commands, options, settings' files and paths that exist."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from uxnet_eval.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
FOLDERS = "search_space|strategies|uxnet_eval|experiments|tests|benchmarks|docs"
MADE_BY_USER = re.compile(r"experiments/(mine|X)\b")  # names that stand for a reader's own files


def fenced(markdown: str) -> list[str]:
    """The lines of all shell blocks, continued lines joined and comments left out."""
    blocks = re.findall(r"^```(?:sh|bash)\n(.*?)^```", markdown, flags=re.M | re.S)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def notebook_lines() -> list[str]:
    """The lines of the notebook's shell cells."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [
        line
        for source in sources
        if source.startswith("%%bash")
        for line in source.replace("\\\n", " ").splitlines()
    ]


def uxnet_calls(line: str) -> list[list[str]]:
    """The arguments of each ``uxnet`` in a line of shell."""
    words = shlex.split(line, comments=True)
    starts = [i for i, word in enumerate(words) if word.lstrip("(") == "uxnet"]
    return [words[start + 1 :] for start in starts]


def faults(arguments: list[str]) -> list[str]:
    """What a call names that the command line does not have."""
    name, *rest = arguments
    if name == "COMMAND" or name in ("--help", "--version"):
        return []
    command, called = COMMANDS.get(name), f"uxnet {name}"
    if command is not None and hasattr(command, "commands"):  # a group, such as uxnet experiments
        name, *rest = rest or ["--help"]
        if name == "--help":
            return []
        command, called = command.commands.get(name), f"{called} {name}"
    if command is None:
        return [called]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    used = [word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
    return [f"{called} {option}" for option in used if option not in known]


def all_lines() -> list[tuple[str, str]]:
    found = [(page.name, line) for page in PAGES for line in fenced(page.read_text())]
    inline = [
        (page.name, code)
        for page in PAGES
        for code in re.findall(r"`(uxnet [a-z][^`\n]*)`", page.read_text())
    ]
    return found + inline + [(NOTEBOOK.name, line) for line in notebook_lines()]


def test_the_docs_name_only_commands_and_options_that_exist():
    calls = [(page, call) for page, line in all_lines() for call in uxnet_calls(line) if call]
    assert len(calls) > 50  # the blocks were found
    wrong = [f"{page}: {fault}" for page, call in calls for fault in faults(call)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("uxnet serch --config x", "uxnet serch"),  # an unknown command
        ("uxnet export runs/mine --threshold 0.6", "uxnet export --threshold"),  # an unknown option
        ("uxnet experiments copie brain", "uxnet experiments copie"),  # within a group
        ("uxnet experiments copy brain --out x", "uxnet experiments copy --out"),
        ("(cd x && uxnet plan data -q y)  # uxnet serch", "uxnet plan -q"),  # short, within another command
    ],
)
def test_a_wrong_name_is_found(line: str, fault: str):
    assert [each for call in uxnet_calls(line) for each in faults(call)] == [fault]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_the_docs_name_exist(page: Path):
    text = page.read_text()
    paths = re.findall(rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]*\w)", text)
    missing = {path for path in paths if not (ROOT / path).exists() and not MADE_BY_USER.match(path)}
    assert not missing, f"{page.name} names what is not there: {sorted(missing)}"


def test_the_notebook_holds_outputs_without_machine_paths():
    text = NOTEBOOK.read_text()
    cells = json.loads(text)["cells"]
    assert any(cell.get("outputs") for cell in cells)
    assert not re.findall(r"/(?:work|home|root|tmp|Users)/[\w./-]*", text)
    pictures = re.findall(r'"image/png": "([^"]*)"', text)
    assert pictures
    assert sum(map(len, pictures)) < 300_000


def test_contributing_names_every_room() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    package = ROOT / "uxnet_eval"
    rooms = [f"uxnet_eval/{path.name}/" for path in package.iterdir() if (path / "__init__.py").is_file()]
    rooms += [f"uxnet_eval/{path.name}" for path in package.glob("*.py") if path.name != "__init__.py"]
    assert len(rooms) > 20
    assert not [room for room in rooms if f"`{room}`" not in text]
