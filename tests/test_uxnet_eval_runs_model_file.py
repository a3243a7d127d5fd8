"""``model.json``: which checkpoints of a folder segment new scans."""

from __future__ import annotations

from pathlib import Path

import pytest

from search_space import UserError
from uxnet_eval.runs.files import write_json
from uxnet_eval.runs.model_file import model_checkpoints, write_model_file


def test_models_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model"):
        model_checkpoints(tmp_path)
    (tmp_path / "best.pt").touch()
    assert model_checkpoints(tmp_path) == [tmp_path / "best.pt"]
    write_model_file(tmp_path, [tmp_path / "a" / "best.pt", tmp_path / "b" / "best.pt"])
    assert model_checkpoints(tmp_path) == [tmp_path / "a" / "best.pt", tmp_path / "b" / "best.pt"]
    write_json(tmp_path / "model.json", {"format": "uxnet-ensemble", "version": 1, "checkpoints": []})
    with pytest.raises(UserError, match="is damaged"):
        model_checkpoints(tmp_path)
