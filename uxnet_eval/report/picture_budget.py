"""Keeps the pages of many runs small: beyond a budget, the pictures of the worst runs stay out."""

from __future__ import annotations

from typing import Any

MAX_PICTURE_BYTES = 5 * 2**20
"""Pictures of a page, as text. Without a limit, the pictures alone of 200 runs are 30 MB."""


def drop_pictures(data: dict[str, Any], max_bytes: int = MAX_PICTURE_BYTES) -> list[str]:
    """Removes pictures beyond the budget from a page's data; the best runs keep theirs.

    Args:
        data: with ``runs`` (their ``overlays``), ``trainings`` (their ``drawing``) and
            ``overlays``.
        max_bytes: of all pictures together; drawings that several trainings share count once.

    Returns:
        A note if anything was removed.
    """
    scores = {each["name"]: _score(each["result"]) for each in data["trainings"]}
    holders = [(_score(run["final"]), run["name"], run, "overlays") for run in data["runs"]]
    holders += [(scores[each["name"]], each["name"], each, "drawing") for each in data["trainings"]]
    holders += [(scores.get(each["run"], 0.0), each["run"], each, "cases") for each in data["overlays"]]
    left, seen, without = max_bytes, set[str](), set[str]()
    for _, name, holder, key in sorted(holders, key=lambda entry: -entry[0]):
        pictures = [url for url in _urls(holder.get(key)) if url not in seen]
        size = sum(map(len, pictures))
        if size <= left:
            left -= size
            seen.update(pictures)
        else:
            holder[key] = None
            without.add(name)
    data["overlays"] = [each for each in data["overlays"] if each["cases"] is not None]
    if not without:
        return []
    return [
        f"the pictures of {len(without)} runs are left out, or this page would be too large to open; "
        "uxnet report FOLDER of one run shows them"
    ]


def _urls(value: Any) -> list[str]:
    """The pictures in overlays, in their cases, or a drawing itself."""
    if isinstance(value, dict):
        value = value["cases"]
    return [case["url"] for case in value] if isinstance(value, list) else [value] if value else []


def _score(values: dict[str, Any]) -> float:
    score = values.get("default")
    return float(score) if isinstance(score, (int, float)) else 0.0
