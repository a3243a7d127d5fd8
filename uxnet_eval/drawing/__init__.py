"""Draws a genotype or the state of a search, in the style of the paper's figures 3 and 4.

Each module knows only those named before it.

- ``layout``: where everything lies.
- ``painter``: colours, letters and shapes.
- ``picture``: what is shown, free of how.
- ``legend`` and ``artists``: the picture's parts, painted.
- ``figure``: the drawing as a figure, as pixels and as a file.
- ``search_state``: the drawing of a search's record.
"""

from .figure import LabelBox, draw, draw_genotype_file, encoded, label_boxes, pixels, save
from .search_state import draw_search, draw_search_folder

__all__ = [
    "LabelBox",
    "draw",
    "draw_genotype_file",
    "draw_search",
    "draw_search_folder",
    "encoded",
    "label_boxes",
    "pixels",
    "save",
]
