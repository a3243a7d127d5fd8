"""Which axes patches may be mirrored along: those along which no two classes keep their order.

A mirrored scan shows the classes in the opposite order. If that order tells one class from another,
as front and back do for the two parts of the hippocampus, mirrored patches teach the network the
wrong answer. The order of two classes is that of their centres, case by case.
"""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import binomtest

from .fingerprint import ClassOrder, Fingerprint

MIN_SHARE = 0.9
"""Two classes keep their order along an axis if it is the same in at least this share of the cases
that hold both."""

MAX_P_VALUE = 0.05
"""Largest p-value of the sign test over these cases, times the number of pairs and axes
(Bonferroni): a few cases agree by chance."""

MIN_DISTANCE_SD = 0.25
"""The centres lie at least this far apart in the median case, in standard deviations of the
foreground along the axis: a smaller shift is hardly seen in a patch."""

AXIS_NAMES = ("left to right", "back to front", "bottom to top")
"""Axes of RAS-oriented volumes."""


def mirror_axes(fingerprint: Fingerprint) -> tuple[int, ...] | None:
    """The axes along which no two classes keep their order, ascending; None if these are all."""
    axes = range(fingerprint.spatial_dims)
    mirrored = tuple(axis for axis in axes if not _kept_orders(fingerprint, axis))
    return None if len(mirrored) == len(axes) else mirrored


def mirroring_reason(fingerprint: Fingerprint) -> str:
    """One sentence for each axis that is not mirrored, or one for all axes if all are."""
    if not fingerprint.class_orders:
        return "Along all axes: no two classes occur together, so there is no order to keep."
    sentences = []
    for axis in range(fingerprint.spatial_dims):
        kept = _kept_orders(fingerprint, axis)
        if kept:
            sentences.append(_sentence(fingerprint, axis, max(kept, key=lambda order: _share(order, axis))))
    if not sentences:
        return (
            f"Along all axes: no two classes keep their order in {MIN_SHARE:.0%} of the cases and more often than by "
            "chance."
        )
    return " ".join(sentences)


def _kept_orders(fingerprint: Fingerprint, axis: int) -> Sequence[ClassOrder]:
    """The pairs of classes that keep their order along an axis."""
    num_tests = len(fingerprint.class_orders) * fingerprint.spatial_dims
    return [
        order
        for order in fingerprint.class_orders
        if order.distance_sd[axis] >= MIN_DISTANCE_SD
        and _share(order, axis) >= MIN_SHARE
        and _p_value(order, axis) * num_tests <= MAX_P_VALUE
    ]


def _share(order: ClassOrder, axis: int) -> float:
    """Share of the cases that have the more frequent of both orders, 0.5 to 1."""
    return max(order.share_after[axis], 1 - order.share_after[axis])


def _p_value(order: ClassOrder, axis: int) -> float:
    num_same = int(_share(order, axis) * order.num_cases + 1e-9)  # a tie counts half
    return float(binomtest(num_same, order.num_cases).pvalue)


def _sentence(fingerprint: Fingerprint, axis: int, order: ClassOrder) -> str:
    name = f"axis {axis}"
    if fingerprint.spatial_dims == len(AXIS_NAMES):
        name += f" ({AXIS_NAMES[axis]})"
    first, second = order.first, order.second
    if order.share_after[axis] < 0.5:
        first, second = second, first
    return f"Not along {name}: {first} comes before {second} in {_share(order, axis):.0%} of {order.num_cases} cases."
