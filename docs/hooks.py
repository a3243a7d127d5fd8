"""Hooks of mkdocs: what the pages need beyond docs/, so that the same links work on GitHub and in the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = "tutorial.ipynb"
_OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")  # a link from docs/ to another folder of the repository
_FROM_ROOT = re.compile(r"\]\(docs/([^)\s]+)")  # a link from a page of the root into docs/
_ROLE = re.compile(r":(?:py:)?(?:mod|class|func|meth|attr|data|exc|ref):(?=<code|`)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the tutorial as a page, and every file outside docs/ that a page links to."""
    _add_notebook(files, config)
    _add(files, config, "CONTRIBUTING.md")
    for page in list(files.documentation_pages()):
        for path in _OUTSIDE.findall(page.content_string):
            _add(files, config, path)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Returns the page with links as they are in the site."""
    if page.file.src_uri in ("CONTRIBUTING.md", "SECURITY.md"):
        markdown = _FROM_ROOT.sub(r"](\1", markdown)
    return _OUTSIDE.sub(r"](\1", markdown).replace(f"]({NOTEBOOK}", "](tutorial.md")


def on_page_content(html: str, **_: Any) -> str:
    """Returns the page without the roles of docstrings, such as ``:class:``, which are no Markdown."""
    return _ROLE.sub("", html)


def _add(files: Files, config: Any, path: str) -> None:
    if not (ROOT / path).is_file():
        raise PluginError(f"docs: a page links to ../{path}, which is no file")
    if files.get_file_from_path(path) is None:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))


def _add_notebook(files: Files, config: Any) -> None:
    """The notebook's cells and committed outputs, as Markdown; nothing is run."""
    notebook = files.get_file_from_path(NOTEBOOK)
    if notebook is None:
        raise PluginError(f"docs/{NOTEBOOK}: not found")
    body, resources = MarkdownExporter().from_filename(str(Path(config.docs_dir) / NOTEBOOK))
    files.append(File.generated(config, "tutorial.md", content=body))
    for name, content in resources["outputs"].items():
        files.append(File.generated(config, name, content=content))
