"""The rules of the plan, each on a fingerprint made for it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from search_space.errors import UserError
from uxnet_eval.config.plan import Plan
from uxnet_eval.config.search import RunConfig
from uxnet_eval.dataset.msd import read_dataset
from uxnet_eval.planning import rules as planning
from uxnet_eval.planning.fingerprint import AxisStatistics, ChannelIntensity, ClassSize, Fingerprint, measure
from uxnet_eval.planning.rules import (
    make_plan,
    pooling_strides,
    supernet_bytes,
    target_spacing_mm,
    write_run_config,
)

ALL, IN_PLANE = (2, 2, 2), (2, 2, 1)


def axis(median: tuple[float, ...], percentile_10: tuple[float, ...] | None = None) -> AxisStatistics:
    return AxisStatistics(
        minimum=median,
        percentile_10=percentile_10 or median,
        median=median,
        percentile_90=median,
        maximum=median,
    )


def fingerprint(
    spacing: tuple[float, ...],
    shape: tuple[float, ...],
    *,
    percentile_10: tuple[float, ...] | None = None,
    channels: tuple[str, ...] = ("MRI",),
    num_classes: int = 3,
    num_cases: int = 100,
) -> Fingerprint:
    size = ClassSize(name="x", num_cases=1, mean_voxels=1, mean_mm3=1, volume_fraction=0.1)
    return Fingerprint(
        name="made",
        spatial_dims=len(shape),
        num_cases=num_cases,
        channel_names=channels,
        spacing_mm=axis(spacing, percentile_10),
        shape_voxels=axis(shape),
        extent_mm=axis(tuple(s * n for s, n in zip(spacing, shape, strict=True))),
        intensity=tuple(
            ChannelIntensity(channel=name, mean=50 + 10 * i, std=20, percentile_0_5=-60, percentile_99_5=200)
            for i, name in enumerate(channels)
        ),
        classes=(size,) * num_classes,
    )


def test_real_hippocampus(hippocampus: Path) -> None:
    # Median shape 35x50x36; each axis halves three times (35 18 9 5, 50 25 13 7, 36 18 9 5) and is padded to 8s.
    plan = make_plan(measure(read_dataset(hippocampus)), 8.0, max_batch_size=2)
    assert plan == Plan(
        spacing_mm=(1, 1, 1), patch_size=(40, 56, 40), strides=(ALL, ALL, ALL), batch_size=2, mirror_axes=()
    )
    assert plan.levels == 4


@pytest.mark.parametrize(
    ("patch", "spacing", "expected"),
    [
        # The paper's five levels, even where a sixth were possible.
        ((256, 256, 256), (1, 1, 1), (ALL,) * 4),
        # 5 mm slices wait until the plane is at 4 mm: 8 voxels of 0.5 mm after 3 poolings.
        ((256, 256, 32), (0.5, 0.5, 5), (IN_PLANE,) * 3 + (ALL,)),
        # Twice the finest spacing is too coarse, a little less is not.
        ((32, 32, 32), (1, 1, 2), (IN_PLANE, ALL, ALL)),
        ((32, 32, 32), (1, 1, 1.9), (ALL, ALL, ALL)),
        # Few slices are never pooled.
        ((64, 64, 7), (1, 1, 1), (IN_PLANE,) * 4),
        # 8 voxels halve to 4, 7 do not halve; a lone axis goes on only from 12 voxels.
        ((8, 8, 7), (1, 1, 1), (IN_PLANE,)),
        ((16, 7, 7), (1, 1, 1), ((2, 1, 1),)),
        ((24, 7, 7), (1, 1, 1), ((2, 1, 1), (2, 1, 1))),
        # 2-D
        ((128, 32), (1, 1), ((2, 2), (2, 2), (2, 2), (2, 1))),
        ((64, 32), (1, 1), ((2, 2), (2, 2), (2, 2))),
    ],
)
def test_strides(patch: tuple[int, ...], spacing: tuple[float, ...], expected: tuple) -> None:
    assert pooling_strides(patch, spacing) == expected


def test_spacing_is_the_median() -> None:
    assert target_spacing_mm(fingerprint((0.8, 0.8, 2.0), (300, 300, 90))) == (0.8, 0.8, 2.0)


@pytest.mark.parametrize(
    ("percentile_10", "shape", "expected"),
    [
        ((0.5, 0.5, 3.0), (320, 320, 20), 3.0),  # anisotropic: the finer slices set the spacing
        ((0.5, 0.5, 0.4), (320, 320, 20), 0.5),  # but the thick axis stays the thickest
        ((0.5, 0.5, 3.0), (320, 320, 200), 6.0),  # coarse, but with many voxels: the median
    ],
)
def test_thick_axis_takes_the_10th_percentile(
    percentile_10: tuple[float, ...], shape: tuple[int, ...], expected: float
) -> None:
    measured = fingerprint((0.5, 0.5, 6.0), shape, percentile_10=percentile_10)
    assert target_spacing_mm(measured) == (0.5, 0.5, expected)


def test_memory_by_hand() -> None:
    # Two levels, 4 channels: 2 nodes of 4 channels, 1 node of 8 channels at an eighth of the voxels: 9 values each.
    expected = 16**3 * (
        9 * planning.BYTES_PER_FEATURE + 3 * planning.BYTES_PER_CLASS + 2 * planning.BYTES_PER_CHANNEL
    )
    assert supernet_bytes((16, 16, 16), (ALL,), base_channels=4, num_channels=2, num_classes=3) == expected


@pytest.mark.parametrize("memory_gib", [6, 12, 24, 80])
def test_patch_fills_the_memory_and_no_more(memory_gib: float) -> None:
    measured = fingerprint((1, 1, 1), (240, 240, 155), channels=("a", "b"), num_classes=5)
    plan = make_plan(measured, memory_gib)

    def needed_gib(patch: tuple[int, ...]) -> float:
        return (planning.FIXED_BYTES + 2 * supernet_bytes(patch, plan.strides, 8, 2, 5)) / 2**30

    assert needed_gib(plan.patch_size) <= memory_gib
    larger = list(plan.patch_size)
    larger[larger.index(min(larger))] += 16
    assert needed_gib(tuple(larger)) > memory_gib or math.prod(larger) > planning.MAX_PATCH_VOXELS
    assert max(plan.patch_size) - min(plan.patch_size) <= 16  # the largest axis shrank first


def test_too_little_memory_says_so() -> None:
    with pytest.raises(UserError, match=r"made: 1\.0 GiB are too little for a patch of \[.*give more memory"):
        make_plan(fingerprint((1, 1, 1), (240, 240, 155)), 1.0, base_channels=64)


def test_batch_grows_with_memory_up_to_its_bounds() -> None:
    measured = fingerprint((1, 1, 1), (64, 64, 64), num_cases=1000)
    batches = [make_plan(measured, gib, max_batch_size=6).batch_size for gib in (4, 6, 100)]
    assert batches == sorted(batches)
    assert batches[0] >= 2 and batches[0] < batches[2] == 6
    few = fingerprint((1, 1, 1), (64, 64, 64), num_cases=60)
    assert make_plan(few, 100, max_batch_size=6).batch_size == 3  # 5 % of 60 cases of one patch each


def test_coarser_voxels_spare_the_thick_axis() -> None:
    measured = fingerprint((1.5, 1.5, 10), (224, 256, 10))
    fine, coarse = make_plan(measured, 8), make_plan(measured, 8, coarser=2)
    assert (fine.spacing_mm, coarse.spacing_mm) == ((1.5, 1.5, 10), (3, 3, 10))
    assert (fine.patch_size, coarse.patch_size) == ((224, 256, 10), (112, 128, 10))


def test_small_images_still_get_two_levels() -> None:
    plan = make_plan(fingerprint((1, 1, 1), (6, 5, 3)), 8)
    assert (plan.patch_size, plan.levels) == ((8, 5, 3), 2)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (("CT",), "ct"),
        (("ct_scan",), "ct"),
        (("CBCT",), "ct"),
        (("CTA",), "ct"),
        (("CT", "PET"), "zscore"),
        (("T1ct",), "zscore"),
        (("contrast",), "zscore"),
        (("MRI",), "zscore"),
    ],
)
def test_normalization(channels: tuple[str, ...], expected: str) -> None:
    plan = make_plan(fingerprint((1, 1, 1), (32, 32, 32), channels=channels), 8)
    assert plan.normalization == expected
    if expected == "ct":
        assert plan.intensity == {"lower": -60, "upper": 200, "mean": 50, "std": 20}


def test_2d(demo_set_2d: Path) -> None:
    plan = make_plan(measure(read_dataset(demo_set_2d)), 4)
    assert plan.patch_size == (32, 32)
    assert plan.strides == ((2, 2), (2, 2), (2, 2))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 3).flatmap(
        lambda dims: st.tuples(
            st.tuples(*[st.floats(0.3, 8)] * dims), st.tuples(*[st.integers(3, 500)] * dims)
        )
    ),
    st.sampled_from([3.0, 8.0, 40.0]),
)
def test_every_plan_fits_its_space(
    made: tuple[tuple[float, ...], tuple[int, ...]], memory_gib: float
) -> None:
    plan = make_plan(fingerprint(*made), memory_gib)  # Plan itself checks that the strides divide the patch
    config = RunConfig(dataset="x", plan=plan).space_config(1, 3)
    assert 2 <= config.levels <= 5
    assert all(size % d == 0 for size, d in zip(plan.patch_size, config.divisor, strict=True))


def test_free_memory_is_a_sensible_number() -> None:
    assert 0.01 < planning.free_memory_gib() < 10_000


def test_run_config_is_complete_commented_and_read_back(tmp_path: Path) -> None:
    plan = make_plan(fingerprint((0.5, 0.5, 5), (256, 256, 30), channels=("CT",)), 12, base_channels=4)
    path = tmp_path / "new" / "mine.run.yml"
    written = write_run_config("../data/Task99", plan, path, base_channels=4)
    read = RunConfig.load(path)
    assert read == written
    assert (read.dataset, read.plan, read.space.base_channels) == ("../data/Task99", plan, 4)
    values = yaml.safe_load(path.read_text())
    assert values == written.model_dump(mode="json"), "a setting is missing or added"
    lines = path.read_text().splitlines()
    assert max(map(len, lines)) <= 110
    for number, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            assert lines[number - 1].lstrip().startswith("#"), f"no comment above {line!r}"
    assert "`" not in path.read_text()
    assert [entry.name for entry in path.parent.iterdir()] == ["mine.run.yml"]


def test_run_config_keeps_an_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.run.yml"
    path.write_text("precious")
    plan = make_plan(fingerprint((1, 1, 1), (32, 32, 32)), 8)
    with pytest.raises(UserError, match=r"mine\.run\.yml: exists already"):
        write_run_config("data", plan, path)
    assert path.read_text() == "precious"
    write_run_config("data", plan, path, overwrite=True)
    assert RunConfig.load(path).plan == plan


@pytest.mark.parametrize(
    ("intensity", "message"),
    [
        ({"lower": 0, "upper": 1, "mean": 0}, "expected lower, upper, mean, std"),
        ({"lower": 0, "upper": 1, "mean": 0, "std": 0}, "std above 0"),
        ({"lower": 2, "upper": 1, "mean": 0, "std": 1}, "lower below upper"),
    ],
)
def test_plan_refuses_bad_intensities(intensity: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(
            spacing_mm=(1, 1, 1),
            patch_size=(8, 8, 8),
            strides=(ALL,),
            normalization="ct",
            intensity=intensity,
        )
