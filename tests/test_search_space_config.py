"""The configuration: the paper's defaults, derived sizes by hand, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from search_space import SearchSpaceConfig, UserError
from search_space.grid import Layer, Node
from search_space.operations import OPTIONAL, check_operation, default_candidates, describe, legal_operations


def test_defaults_are_the_papers() -> None:
    config = SearchSpaceConfig()
    assert (config.spatial_dims, config.levels) == (3, 5)
    assert [config.channels(level) for level in range(5)] == [16, 32, 64, 128, 256]
    assert config.level_strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    assert config.divisor == (16, 16, 16)
    assert [len(config.candidates(kind)) for kind in ("normal", "reduction", "expansion")] == [7, 3, 2]
    assert config.search_blocks and config.search_edges


def test_candidates_by_name() -> None:
    assert default_candidates("normal", 3) == (
        "conv3", "conv3x3x1", "conv5", "pseudo3d", "2xconv3", "conv3_rate2", "conv5_rate2",
    )  # fmt: skip
    # In 2-D 3x3x1 is 3x3, and pseudo-3-D is 3x3 and nothing.
    assert default_candidates("normal", 2) == ("conv3", "conv5", "2xconv3", "conv3_rate2", "conv5_rate2")
    for dims in (2, 3):
        assert default_candidates("reduction", dims) == ("max_pool", "avg_pool", "conv3_stride2")
        assert default_candidates("expansion", dims) == ("transposed_conv", "interpolate")
        assert set(legal_operations("normal", dims)) - set(default_candidates("normal", dims)) == set(
            OPTIONAL
        )


def test_titles_are_the_papers() -> None:
    assert describe("conv3_rate2", 3) == "3x3x3 rate 2"
    assert describe("conv3_rate2", 2) == "3x3 rate 2"
    assert describe("interpolate", 2) == "bilinear"


def test_sizes_of_an_anisotropic_space() -> None:
    config = SearchSpaceConfig(
        in_channels=4, levels=4, base_channels=24, max_channels=100, strides=((2, 2, 1), (2, 2, 2), (2, 1, 2))
    )
    assert [config.channels(level) for level in range(4)] == [24, 48, 96, 100]
    assert config.level_strides == ((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 1, 2))
    assert config.divisor == (8, 4, 4)
    assert config.layer_channels(Layer(Node(0, 0), "normal")) == (4, 24)
    assert config.layer_channels(Layer(Node(0, 1), "normal")) == (48, 48)
    assert config.layer_channels(Layer(Node(0, 3), "reduction")) == (96, 100)
    assert config.layer_channels(Layer(Node(1, 2), "expansion")) == (100, 96)
    assert config.layer_channels(Layer(Node(3, 0), "normal")) == (24, 24)


def test_lists_of_a_yaml_file_become_tuples() -> None:
    config = SearchSpaceConfig.parse(
        {"spatial_dims": 2, "levels": 2, "strides": [[2, 1]], "normal_candidates": ["conv3"]}, "x.yml"
    )
    assert config.strides == ((2, 1),)
    assert config.candidates("normal") == ("conv3",)


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"level": 4}, r"x\.yml: unknown key 'level' \(did you mean 'levels'\?\); allowed: spatial_dims, in_channels"),
    ({"spatial_dims": 4}, r"x\.yml: spatial_dims: Input should be 2 or 3"),
    ({"levels": 1}, r"x\.yml: levels: Input should be greater than or equal to 2"),
    ({"levels": 8}, r"x\.yml: levels: Input should be less than or equal to 7"),
    ({"num_classes": 1}, r"x\.yml: num_classes: Input should be greater than or equal to 2"),
    ({"base_channels": 0}, r"x\.yml: base_channels: Input should be greater than or equal to 1"),
    ({"levels": 3, "strides": [[2, 2, 2]]}, r"x\.yml: strides are given for 1 levels; expected 2"),
    ({"levels": 2, "strides": [[2, 2]]}, r"x\.yml: strides of level 1 are \(2, 2\); expected 3 values of 1 or 2"),
    ({"levels": 2, "strides": [[2, 3, 2]]}, r"x\.yml: strides of level 1 are \(2, 3, 2\); expected 3 values of 1 or 2"),
    ({"levels": 2, "strides": [[1, 1, 1]]}, r"x\.yml: strides of level 1 are \(1, 1, 1\); .* not all of them 1"),
    ({"normal_candidates": []}, r"x\.yml: normal_candidates: \[\] is empty or holds a name twice"),
    ({"normal_candidates": ["conv3", "conv3"]}, r"x\.yml: normal_candidates: .* holds a name twice"),
    ({"normal_candidates": ["conv4"]}, r"x\.yml: normal_candidates: 'conv4' is not a normal operation in 3-D \(did you"),
    ({"reduction_candidates": ["conv3"]}, r"reduction_candidates: 'conv3' is not a reduction operation in 3-D"),
    ({"spatial_dims": 2, "normal_candidates": ["pseudo3d"]}, r"'pseudo3d' is not a normal operation in 2-D"),
    ({"normal_candidates": ["identity", "conv3"]}, r"normal_candidates: 'identity' fits the U-Net's pass-through nodes alone; set pass_through"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "message"), FAULTS)
def test_every_fault_has_its_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        SearchSpaceConfig.parse(values, "x.yml")
    assert "\n" not in str(caught.value)


def test_two_faults_are_told_at_once() -> None:
    with pytest.raises(UserError, match=r"x\.yml: num_classes: .*; levels: "):
        SearchSpaceConfig.parse({"levels": 1, "num_classes": 0}, "x.yml")


def test_no_configuration_at_all() -> None:
    with pytest.raises(UserError, match=r"x\.yml: expected keys and values, found list"):
        SearchSpaceConfig.parse([1], "x.yml")


def test_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SearchSpaceConfig().levels = 4  # type: ignore[misc]


def test_check_operation_names_the_nearest() -> None:
    with pytest.raises(
        UserError, match=r"^here: 'maxpool' is not a reduction operation in 3-D \(did you mean 'max_pool'"
    ):
        check_operation("maxpool", "reduction", 3, "here")
