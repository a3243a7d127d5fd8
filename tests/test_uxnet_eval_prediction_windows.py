"""Windows over an image: their number, mirroring, and what comes together again."""

from __future__ import annotations

import pytest
import torch
from stand_in_model import StandInModel, constant_network, raw_plan, threshold_network
from torch import Tensor

from search_space import SearchSpaceConfig, UXNet, presets
from uxnet_eval.prediction.windows import (
    WindowSettings,
    fitting_batch_size,
    mirrored_mean,
    num_windows,
    window_logits,
)
from uxnet_eval.recipe.validation import segment


@pytest.mark.parametrize("size", [(21, 9, 16), (21, 9)], ids=["3-D", "2-D"])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_voxelwise_network_sees_the_whole_image(
    size: tuple[int, ...], overlap: float, batch_size: int
) -> None:
    # Where a voxel's logits depend on that voxel alone, windows and weights must leave no trace. The second axis is
    # smaller than the patch, the first is no multiple of it.
    image = torch.rand(2, *size, generator=torch.Generator().manual_seed(0)) * 1000
    network = threshold_network(300, 700)
    settings = WindowSettings(overlap=overlap, batch_size=batch_size)
    model = StandInModel(network, raw_plan((1,) * len(size), (12,) * len(size)))
    logits = window_logits(model, image, settings)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, network(image[None])[0])


@pytest.mark.parametrize(
    ("size", "patch", "overlap", "expected"),
    [
        ((10,), (10,), 0.5, 1),
        ((5,), (10,), 0.5, 1),  # padded
        ((11,), (10,), 0.5, 2),
        ((20,), (10,), 0.5, 3),  # at 0, 5, 10
        ((20, 10), (10, 10), 0.0, 2),
        ((240, 240, 155), (96, 96, 96), 0.5, 4 * 4 * 3),  # steps of 48 over 144, 144 and 59 voxels
        ((12,), (10,), 0.99, 3),  # a step is one voxel at least
    ],
)
def test_number_of_windows(
    size: tuple[int, ...], patch: tuple[int, ...], overlap: float, expected: int
) -> None:
    assert num_windows(size, patch, overlap) == expected


@pytest.mark.parametrize("size", [(7, 8), (8, 8), (9, 30), (31, 17)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.7])
def test_number_of_windows_is_what_the_network_gets(size: tuple[int, int], overlap: float) -> None:
    counts: list[int] = []
    settings = WindowSettings(overlap=overlap, batch_size=3)
    plan = raw_plan((1, 1), (8, 8))
    window_logits(StandInModel(constant_network(0, 1), plan), torch.zeros(1, *size), settings, counts.append)
    assert sum(counts) == num_windows(size, plan.patch_size, overlap)
    assert max(counts) <= 3


def _ramp_network(windows: Tensor) -> Tensor:
    """Intensity plus a ramp along each axis, antisymmetric about the window's centre."""
    total = windows
    for axis in range(2, windows.ndim):
        size = windows.shape[axis]
        shape = [1] * windows.ndim
        shape[axis] = size
        total = total + 10.0 ** (axis - 2) * (torch.arange(size) - (size - 1) / 2).reshape(shape)
    return torch.cat([total, -total], dim=1)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_mirroring_cancels_what_depends_on_the_side(spatial_dims: int) -> None:
    windows = torch.rand(2, 1, *(5, 4, 6)[:spatial_dims], generator=torch.Generator().manual_seed(0))
    mean = mirrored_mean(_ramp_network, range(spatial_dims))(windows)
    assert not torch.allclose(_ramp_network(windows), torch.cat([windows, -windows], dim=1), atol=1)
    torch.testing.assert_close(mean, torch.cat([windows, -windows], dim=1), atol=1e-3, rtol=0)


def test_mirroring_is_the_mean_of_all_eight() -> None:
    seen: list[Tensor] = []

    def network(windows: Tensor) -> Tensor:
        seen.append(windows.clone())
        return torch.full_like(windows, float(len(seen)))

    windows = torch.arange(8.0).reshape(1, 1, 2, 2, 2)
    mean = mirrored_mean(network, (0, 1, 2))(windows)
    assert torch.equal(mean, torch.full_like(windows, 4.5))  # of 1 to 8
    assert len({tuple(window.flatten().tolist()) for window in seen}) == 8


def test_settings_mirror_the_windows() -> None:
    image = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(0))
    model = StandInModel(_ramp_network, raw_plan((1, 1), (12, 12)))
    logits = window_logits(model, image, WindowSettings(mirror=True))
    torch.testing.assert_close(logits[0], image[0], atol=1e-3, rtol=0)


def test_network_equals_segment_of_the_search() -> None:
    torch.manual_seed(0)
    config = SearchSpaceConfig(levels=2, in_channels=2, num_classes=3, base_channels=2)
    network = UXNet(config, presets.get("full", 2)).eval()
    image, plan = torch.randn(2, 13, 9, 12), raw_plan((1, 1, 1), (8, 8, 8))
    with torch.inference_mode():
        expected = segment(network, image[None], plan, overlap=0.5)[0]
    torch.testing.assert_close(window_logits(StandInModel(network, plan), image, WindowSettings()), expected)


@pytest.mark.parametrize(("given", "expected"), [(None, 7), (0.0, 3)])  # steps of 2 and 8 over 20 - 8 pixels
def test_overlap_is_the_trainings_unless_given(given: float | None, expected: int) -> None:
    model = StandInModel(constant_network(0, 1), raw_plan((1, 1), (8, 8)), overlap=0.75)
    counts: list[int] = []
    window_logits(model, torch.zeros(1, 20, 8), WindowSettings(overlap=given), counts.append)
    assert sum(counts) == expected


def test_a_cpu_takes_one_window_at_a_time() -> None:
    assert fitting_batch_size(StandInModel(constant_network(0, 1), raw_plan((1, 1), (8, 8)))) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_takes_several_windows_and_gives_the_same() -> None:
    torch.manual_seed(0)
    network = UXNet(SearchSpaceConfig(levels=3, base_channels=4), presets.get("full", 3)).eval()
    model = StandInModel(network, raw_plan((1, 1, 1), (16, 16, 16)))
    image = torch.randn(1, 30, 30, 20)
    expected = window_logits(model, image, WindowSettings())
    model.device = torch.device("cuda")
    network.to(model.device)
    batch_size = fitting_batch_size(model)
    assert batch_size > 1
    logits = window_logits(model, image, WindowSettings(batch_size=batch_size))
    assert logits.device.type == "cpu"
    torch.testing.assert_close(logits, expected, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("values", [{"overlap": 1.0}, {"overlap": -0.1}, {"batch_size": 0}])
def test_settings_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        WindowSettings(**values)


def test_only_axes_that_were_mirrored_in_training_are_mirrored() -> None:
    seen: list[Tensor] = []

    def network(windows: Tensor) -> Tensor:
        seen.append(windows.clone())
        return windows

    windows = torch.arange(8.0).reshape(1, 1, 2, 2, 2)
    assert torch.equal(mirrored_mean(network, (1,))(windows), windows)
    assert len(seen) == 2 and torch.equal(seen[1], windows.flip(3))
