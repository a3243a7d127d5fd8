"""The label of one case: in its own grid, from one or several networks."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.eulerangles import euler2mat
from stand_in_model import StandInModel, constant_network, raw_plan, threshold_network

from search_space import SearchSpaceConfig, UXNet, presets
from search_space.errors import UserError
from uxnet_eval.config.plan import Plan
from uxnet_eval.prediction.case_prediction import check_ensemble, predict_case, predict_prepared
from uxnet_eval.prediction.windows import WindowSettings
from uxnet_eval.preprocessing.transforms import prepare_image, restore_logits
from uxnet_eval.recipe.validation import segment


def smooth_scan(
    shape: tuple[int, ...] = (40, 36, 14), spacing_mm: tuple[float, ...] = (0.9, 1.1, 2.5)
) -> tuple[np.ndarray, np.ndarray]:
    """Intensities (1, *S) that fall from 800 with the distance in mm from an off-centre point, and a LAS, rotated affine."""
    rotation = euler2mat(0.3, -0.2, 0.15)
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag((-spacing_mm[0], *spacing_mm[1:]))
    affine[:3, 3] = (31.0, -52.5, 14.25)
    assert nib.aff2axcodes(affine) == ("L", "A", "S")
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    offset_mm = (indices - np.array(shape) * (0.55, 0.45, 0.5)) * spacing_mm
    # Longer along one axis, so that a flipped or permuted result would not fit.
    distance = np.sqrt((offset_mm**2 * (1.0, 0.6, 0.8)).sum(-1))
    return (800 - 40 * distance)[None].clip(0).astype(np.float32), affine


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_rotated_anisotropic_las_volume_comes_back_in_its_own_space() -> None:
    image, affine = smooth_scan()
    model = StandInModel(threshold_network(400), raw_plan((1, 1, 1), (16, 16, 16)))
    prediction = predict_case([model], image, affine, case_id="a")
    wanted = image[0] > 400
    assert 2000 < np.count_nonzero(wanted) < 8000
    np.testing.assert_allclose(prediction.affine, affine, atol=1e-6)
    assert prediction.label.dtype == np.uint8
    assert dice(prediction.label == 1, wanted) > 0.99
    assert dice(prediction.label[::-1] == 1, wanted) < 0.9  # so that the bound means something


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_every_orientation_comes_back_voxel_by_voxel(axes: tuple[int, ...], signs: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).uniform(0, 1000, (1, 7, 9, 6)).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = np.diag(signs)[:, axes] * np.array([1.0, 1.5, 2.0])[list(axes)]
    network_spacing = np.linalg.norm(affine[:3, :3], axis=1)
    model = StandInModel(threshold_network(300, 600), raw_plan(network_spacing, (4, 4, 4)))
    prediction = predict_case([model], image, affine, case_id="a")
    np.testing.assert_array_equal(prediction.label, np.digitize(image[0], [300, 600]))
    np.testing.assert_array_equal(prediction.affine, affine)


def test_picture_of_two_channels() -> None:
    image = np.random.default_rng(0).uniform(0, 1000, (2, 21, 10)).astype(np.float32)
    model = StandInModel(threshold_network(500), raw_plan((1, 1), (8, 8)), channel_names=("a", "b"))
    prediction = predict_case([model], image, np.eye(4), case_id="a")
    np.testing.assert_array_equal(prediction.label, image[0] > 500)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (1.5, 1.0, 2.0)])
def test_same_label_as_segment_and_restore(spacing_mm: tuple[float, ...]) -> None:
    # A network with context, an image smaller than the patch along one axis, and z-scores.
    torch.manual_seed(0)
    config = SearchSpaceConfig(levels=2, in_channels=2, num_classes=3, base_channels=3)
    network = UXNet(config, presets.get("unet", 2)).eval()
    plan = Plan(spacing_mm=spacing_mm, patch_size=(8, 8, 8), strides=((2, 2, 2),))
    image = np.random.default_rng(0).normal(100, 30, (2, 13, 6, 12)).astype(np.float32)
    prepared, grid = prepare_image("a", image, np.diag([-1.0, 1, 1, 1]), plan)
    with torch.inference_mode():
        probabilities = segment(network, prepared[None], plan, overlap=0.5)[0].softmax(0)
    expected, _ = restore_logits(probabilities, grid)
    assert set(np.unique(expected)) == {0, 1, 2}
    model = StandInModel(network, plan)
    np.testing.assert_array_equal(
        predict_case([model], image, np.diag([-1.0, 1, 1, 1]), case_id="a").label, expected
    )
    np.testing.assert_array_equal(predict_prepared([model], prepared, grid).label, expected)


def test_image_is_not_changed() -> None:
    image, _ = smooth_scan((12, 12, 6))
    before = image.copy()
    zscore = Plan(spacing_mm=(1, 1, 1), patch_size=(8, 8, 8), strides=((2, 2, 2),))
    predict_case([StandInModel(threshold_network(0), zscore)], image, np.eye(4), case_id="a")
    np.testing.assert_array_equal(image, before)


def _logits(probability: float) -> tuple[float, float]:
    return 0.0, math.log(probability / (1 - probability))


def test_ensemble_is_the_mean_of_probabilities() -> None:
    # The mean of (0.999, 0.2, 0.2) is 0.466, below a half; the mean of logits is (6.9 - 1.39 - 1.39) / 3, above 0.
    plan = raw_plan((1, 1, 1), (4, 4, 4))
    models = [StandInModel(constant_network(*_logits(p)), plan) for p in (0.999, 0.2, 0.2)]
    prediction = predict_case(models, np.zeros((1, 5, 4, 4)), np.eye(4), case_id="a", probabilities=True)
    assert prediction.probabilities is not None and prediction.probabilities.dtype == np.float16
    np.testing.assert_allclose(prediction.probabilities[1], (0.999 + 0.2 + 0.2) / 3, atol=5e-4)
    assert not prediction.label.any()
    # And no vote: (0.99, 0.4, 0.4) has one for class 1, and a mean of 0.597.
    models = [StandInModel(constant_network(*_logits(p)), plan) for p in (0.99, 0.4, 0.4)]
    assert predict_case(models, np.zeros((1, 5, 4, 4)), np.eye(4), case_id="a").label.all()


def test_ensemble_of_different_plans_is_the_mean_on_the_own_grid() -> None:
    image, affine = smooth_scan()
    fine = StandInModel(threshold_network(380), raw_plan((1, 1, 1), (16, 16, 16)))
    coarse = StandInModel(threshold_network(440), raw_plan((2, 2, 2.5), (12, 12, 8)))
    other_patch = StandInModel(threshold_network(420), raw_plan((1, 1, 1), (12, 16, 12)))
    models = [fine, coarse, other_patch]
    together = predict_case(models, image, affine, case_id="a", probabilities=True)
    alone = [predict_case([model], image, affine, case_id="a", probabilities=True) for model in models]
    expected = np.mean([p.probabilities.astype(np.float64) for p in alone if p.probabilities is not None], 0)
    assert together.probabilities is not None
    np.testing.assert_allclose(together.probabilities, expected, atol=1e-3)
    agree = np.abs(expected[1] - 0.5) > 1e-3  # beyond rounding to float16
    np.testing.assert_array_equal(together.label[agree], (expected[1] > 0.5)[agree])
    assert (together.label != alone[0].label).any() and (together.label != alone[1].label).any()


def test_ensemble_of_one_network_twice_is_that_network() -> None:
    image, affine = smooth_scan((20, 18, 8))
    model = StandInModel(threshold_network(200, 500), raw_plan((1, 1, 1), (16, 16, 16)))
    once = predict_case([model], image, affine, case_id="a").label
    np.testing.assert_array_equal(predict_case([model, model], image, affine, case_id="a").label, once)


def test_probabilities_sum_to_one_on_the_own_grid() -> None:
    image, affine = smooth_scan((20, 18, 8))
    model = StandInModel(threshold_network(200, 500), raw_plan((1, 1, 1), (16, 16, 16)))
    prediction = predict_case([model], image, affine, case_id="a", probabilities=True)
    assert prediction.probabilities is not None and prediction.probabilities.shape == (3, 20, 18, 8)
    np.testing.assert_allclose(prediction.probabilities.astype(np.float32).sum(0), 1, atol=2e-3)
    assert predict_case([model], image, affine, case_id="a").probabilities is None


def test_equal_probabilities_give_the_first_class() -> None:
    model = StandInModel(constant_network(-1, 2, 2), raw_plan((1, 1), (4, 4)))
    assert (predict_case([model], np.zeros((1, 4, 4)), np.eye(4), case_id="a").label == 1).all()


def test_largest_component_alone_stays() -> None:
    image = np.zeros((1, 12, 5, 5), dtype=np.float32)
    image[0, 1:3, 2, 2] = image[0, 6:11, 2, 2] = 900
    model = StandInModel(threshold_network(500), raw_plan((1, 1, 1), (8, 8, 8)))
    kwargs = {"case_id": "a", "probabilities": True}
    both = predict_case([model], image, np.eye(4), **kwargs)
    one = predict_case([model], image, np.eye(4), largest_component=True, **kwargs)
    assert np.count_nonzero(both.label) == 7
    assert np.argwhere(one.label)[:, 0].tolist() == [6, 7, 8, 9, 10]
    np.testing.assert_array_equal(one.probabilities, both.probabilities)


def test_progress_runs_from_window_to_window_up_to_one() -> None:
    seen: list[float] = []
    plans = [raw_plan((1, 1), (8, 8)), raw_plan((2, 2), (8, 8))]
    models = [StandInModel(threshold_network(500), plan) for plan in plans]
    predict_case(models, np.zeros((1, 16, 8)), np.eye(4), case_id="a", progress=seen.append)
    # Three windows on the first grid, one on the second (8 x 4 voxels): half the work is each network's.
    np.testing.assert_allclose(seen, [1 / 6, 2 / 6, 3 / 6, 1])


def test_nan_of_a_network_is_named() -> None:
    model = StandInModel(constant_network(0, math.nan), raw_plan((1, 1), (4, 4)))
    with pytest.raises(UserError, match=r"^scan7: the network gives NaN or infinity.*--precision float32"):
        predict_case([model], np.zeros((1, 4, 4)), np.eye(4), case_id="scan7")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"channel_names": ("T1",)},
            r"b\.ckpt: has the channel names \['T1'\], expected \['MRI'\] as in a\.ckpt",
        ),
        ({"class_names": ("background", "tumour")}, r"b\.ckpt: has the class names .*tumour"),
        ({"label_values": (0, 255)}, r"b\.ckpt: has the label values \[0, 255\], expected \[0, 1\]"),
        ({"plan": raw_plan((1, 1), (4, 4))}, r"b\.ckpt: is for 2-D images, expected 3-D as in a\.ckpt"),
    ],
)
def test_ensemble_of_other_data_is_refused(changed: dict[str, object], message: str) -> None:
    network, plan = constant_network(0, 1), raw_plan((1, 1, 1), (4, 4, 4))
    models = {
        "a.ckpt": StandInModel(network, plan),
        "b.ckpt": StandInModel(**{"network": network, "plan": plan, **changed}),
    }
    with pytest.raises(UserError, match=message):
        check_ensemble(models)


def test_real_las_slices_come_back_in_their_own_space(anisotropic: Path) -> None:
    volume = nib.load(anisotropic / "t2s_uncropped.nii.gz")
    stored = np.asarray(volume.dataobj, dtype=np.float32)[None]
    image = 1000 * stored / stored.max()
    model = StandInModel(threshold_network(250, 500), raw_plan((0.5, 0.5, 7.5), (160, 160, 8)))
    prediction = predict_case(
        [model], image, volume.affine, case_id="a", settings=WindowSettings(overlap=0.25)
    )
    np.testing.assert_allclose(prediction.affine, volume.affine, atol=1e-6)
    np.testing.assert_array_equal(prediction.label, np.digitize(image[0], [250, 500]))
