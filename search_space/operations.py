"""Names of the operations that a layer can choose from (section 2.1); plain Python, no tensors.

The names are the same in 3-D and 2-D: ``conv3`` is 3x3x3 or 3x3. :func:`describe` gives the paper's
notation.
"""

from __future__ import annotations

from .errors import UserError, nearest

KINDS = ("normal", "reduction", "expansion")
OPTIONAL = ("res2xconv3", "large_kernel", "identity")
"""Not among the paper's candidates; legal in a genotype, and if a configuration asks for them."""

_TITLES = {
    # name: (kind, title in 3-D, title in 2-D); None: 2-D has another name for this operation
    "conv3": ("normal", "3x3x3", "3x3"),
    "conv3x3x1": ("normal", "3x3x1", None),
    "conv5": ("normal", "5x5x5", "5x5"),
    "pseudo3d": ("normal", "pseudo-3-D", None),
    "2xconv3": ("normal", "2 x 3x3x3", "2 x 3x3"),
    "conv3_rate2": ("normal", "3x3x3 rate 2", "3x3 rate 2"),
    "conv5_rate2": ("normal", "5x5x5 rate 2", "5x5 rate 2"),
    "res2xconv3": ("normal", "residual 2 x 3x3x3", "residual 2 x 3x3"),
    "large_kernel": ("normal", "depthwise 5x5x5", "depthwise 5x5"),
    "identity": ("normal", "identity", "identity"),
    "max_pool": ("reduction", "max pooling", "max pooling"),
    "avg_pool": ("reduction", "average pooling", "average pooling"),
    "conv3_stride2": ("reduction", "3x3x3 stride 2", "3x3 stride 2"),
    "transposed_conv": ("expansion", "transposed conv", "transposed conv"),
    "interpolate": ("expansion", "trilinear", "bilinear"),
}


def legal_operations(kind: str, spatial_dims: int) -> tuple[str, ...]:
    """All names that a genotype may use for a layer of ``kind``, ``identity`` included."""
    column = 1 if spatial_dims == 3 else 2
    return tuple(name for name, row in _TITLES.items() if row[0] == kind and row[column])


def default_candidates(kind: str, spatial_dims: int) -> tuple[str, ...]:
    """The candidates that are searched by default; in 3-D the paper's 7 + 3 + 2.

    The operations in :data:`OPTIONAL` are legal, but they are not among the defaults.
    """
    return tuple(name for name in legal_operations(kind, spatial_dims) if name not in OPTIONAL)


def describe(name: str, spatial_dims: int = 3) -> str:
    """The title of an operation in the paper's notation, such as ``3x3x3 rate 2``."""
    return _TITLES[name][1 if spatial_dims == 3 else 2] or name


def check_operation(name: str, kind: str, spatial_dims: int, where: str) -> None:
    """Raises :class:`UserError`, beginning with ``where``, if ``kind`` has no such operation."""
    legal = legal_operations(kind, spatial_dims)
    if name not in legal:
        raise UserError(
            f"{where}: '{name}' is not a {kind} operation in {spatial_dims}-D{nearest(name, legal)}; "
            f"allowed: {', '.join(legal)}"
        )
