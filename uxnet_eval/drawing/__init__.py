"""Draws a genotype, or the state of a supernet during its search, as figures 3 and 4 of the paper do.

Each module knows only those named before it.

- ``layout``: where everything lies.
- ``painter``: colours, letters and shapes.
- ``picture``: what is shown, free of how.
- ``legend`` and ``artists``: the picture's parts, painted.
- ``figure``: the drawing as a figure, as pixels and as a file.
"""

from .figure import LabelBox, draw, draw_genotype_file, label_boxes, pixels, save

__all__ = ["LabelBox", "draw", "draw_genotype_file", "label_boxes", "pixels", "save"]
