"""The width of a network that fits a budget, so that networks are compared at equal cost."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import nn

from search_space.errors import UserError

from ..architectures.architecture import Architecture
from ..config.plan import Plan
from ..config.training import DEFAULT_BASE_CHANNELS, NetworkSettings
from .build import build_network
from .cost import network_cost

logger = logging.getLogger(__name__)

MAX_BASE_CHANNELS = 2048
STEPS = 4
"""Widths per base channel: whole base channels would miss a budget of half a million parameters by
up to a tenth."""
TOLERANCE = 0.1
"""A width that misses the budget by more than this share is reported: whole channels come no
nearer."""


def choose_base_channels(
    architecture: Architecture, settings: NetworkSettings, plan: Plan, in_channels: int, num_classes: int
) -> float:
    """The base channels of the settings, or those nearest to the budget of the settings.

    Raises:
        UserError: if even the narrowest network is far beyond the budget, or the widest far below.
    """
    if settings.parameters is None and settings.multiply_adds is None:
        return settings.base_channels or DEFAULT_BASE_CHANNELS

    def network(width: float) -> nn.Module:
        return shapes_alone(architecture, plan, in_channels, num_classes, width, settings.max_channels)

    if settings.parameters is not None:
        budget, what = settings.parameters, "parameters"
        cost = lambda width: sum(p.numel() for p in network(width).parameters())  # noqa: E731
    else:
        assert settings.multiply_adds is not None
        budget, what = settings.multiply_adds, "multiply_adds"
        cost = lambda width: network_cost(network(width), plan, in_channels).multiply_adds  # noqa: E731
    width, found = nearest_width(cost, budget)
    if not 0.5 < found / budget < 2:
        raise UserError(
            f"{architecture.name}: {what} {budget:,} cannot be met; the nearest width has {width:g} base channels and "
            f"{found:,}; change the budget"
        )
    if abs(found / budget - 1) > TOLERANCE:
        logger.warning(
            "%s: %s %s are the nearest to %s", architecture.name, f"{found:,}", what, f"{budget:,}"
        )
    return width


def shapes_alone(
    architecture: Architecture,
    plan: Plan,
    in_channels: int,
    num_classes: int,
    base_channels: float,
    max_channels: int,
) -> nn.Module:
    """The network that predicts, without values: a wide one would take gigabytes.

    See :func:`build_network`.
    """
    with torch.device("meta"):
        return build_network(
            architecture,
            plan,
            in_channels,
            num_classes,
            base_channels=base_channels,
            max_channels=max_channels,
        )


def nearest_width(cost: Callable[[float], int], budget: int) -> tuple[float, int]:
    """The width whose cost is nearest to ``budget``, and that cost.

    Args:
        cost: of a width; must not fall as the width grows.
        budget: the cost to come near to, by ratio.
    """
    costs: dict[int, int] = {}

    def at(steps: int) -> int:
        if steps not in costs:
            costs[steps] = cost(steps / STEPS)
        return costs[steps]

    low, high = STEPS, 2 * STEPS
    while at(high) < budget and high < MAX_BASE_CHANNELS * STEPS:
        low, high = high, 2 * high
    while high - low > 1:  # at(low) < budget <= at(high), unless an end of the range is reached
        middle = (low + high) // 2
        low, high = (middle, high) if at(middle) < budget else (low, middle)
    nearest = min((low, high), key=lambda steps: max(at(steps), budget) / min(at(steps), budget))
    return nearest / STEPS, at(nearest)
