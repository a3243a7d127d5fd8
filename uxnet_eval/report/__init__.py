"""``uxnet report``: one HTML page of a search, a training, an evaluation or an experiment.

- ``sources``: finds the runs; ``search_run`` and ``scored_cases`` read them, whatever state they
  are in.
- ``overlays``: segmentations over their images.
- ``geometry``: places and colours of the architecture drawing.
- ``page``: puts data, style and scripts (``assets/``) into one file.
- ``live``: the report of a search that runs.
"""

from __future__ import annotations

import os
from pathlib import Path

from .page import save_page
from .sources import Source, read_source

__all__ = ["Source", "read_source", "save_page", "write_report"]


def write_report(source: str | os.PathLike[str], output: str | os.PathLike[str]) -> Path:
    """Writes the report of ``source`` to the HTML file ``output`` and returns its path.

    Args:
        source: the output folder of a search, a training or an evaluation, a folder that holds
            several of them, or an NNI experiment's folder or id.
        output: the file to write; an older one is replaced.

    Raises:
        UserError: in one line, if ``source`` holds nothing that can be shown, or the file cannot be
            written.
    """
    return save_page(read_source(source), output)
