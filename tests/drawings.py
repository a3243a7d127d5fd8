"""Architectures by chance for the tests of the drawing, and what to look for in a figure."""

import numpy as np
from matplotlib.patches import PathPatch
from matplotlib.text import Text

from search_space.errors import UserError
from search_space.genotype import Genotype
from search_space.grid import Edge, Grid
from search_space.operations import default_candidates, legal_operations
from uxnet_eval.drawing import (
    label_boxes,
)


def random_genotype(rng, levels, spatial_dims=3):
    """Random edges, from sparse to nearly all, and random operations."""
    grid, share = Grid(levels), rng.uniform(0.2, 0.95)
    while True:
        edges = [edge for edge in grid.edges if rng.random() < share]
        operations = {layer: rng.choice(legal_operations(layer.kind, spatial_dims)) for layer in grid.layers}
        try:
            return Genotype.from_choices(levels, edges, operations)
        except UserError:  # the output is cut off
            continue


def random_state(rng, levels, spatial_dims=3):
    """Random gates and alphas of a supernet."""
    grid = Grid(levels)
    gates = {edge: rng.random() for edge in grid.edges}
    alphas = {}
    for layer in grid.layers:
        names = default_candidates(layer.kind, spatial_dims)
        weights = [rng.random() ** 4 for _ in names]
        alphas[layer] = {name: weight / sum(weights) for name, weight in zip(names, weights, strict=True)}
    return grid, gates, alphas


def faults(figure):
    """The labels that leave their frame, and the pairs that overlap."""
    boxes = label_boxes(figure)
    found = [
        box.text
        for box in boxes
        if not (box.frame[0] <= box.x0 and box.frame[1] <= box.y0 and box.x1 <= box.frame[2] and box.y1 <= box.frame[3])
    ]  # fmt: skip
    x0, y0, x1, y1 = (np.array([box[k] for box in boxes]) for k in (1, 2, 3, 4))
    apart = (x1[:, None] <= x0) | (x1 <= x0[:, None]) | (y1[:, None] <= y0) | (y1 <= y0[:, None])
    pairs = np.argwhere(np.triu(~apart, 1))
    return found + [(boxes[a].text, boxes[b].text) for a, b in pairs]


def texts_of(figure, node):
    """The texts on a node's card, without its name, and their colours."""
    texts = [a for a in figure.artists if isinstance(a, Text) and a.get_label() == f"card:{node}"]
    return {text.get_text(): text.get_color() for text in texts if text.get_text() != str(node)}


def strokes(figure):
    """The drawn curve of every edge, by the edge's name."""
    return {a.get_gid(): a for a in figure.artists if isinstance(a, PathPatch) and a.get_gid()}


def chain(levels=3):
    """N0.0 to N0.1 to N1.0 to N2.0, for three levels."""
    names = ("N0.0-N0.1", "N0.1-N1.0", "N1.0-N2.0")
    return [Edge.parse(name) for name in names]
