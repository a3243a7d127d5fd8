"""Which axes are mirrored: classes that keep their order, on made and on real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msd_folder import write_msd_folder
from test_uxnet_eval_planning import fingerprint
from typer.testing import CliRunner

from uxnet_eval.cli import app
from uxnet_eval.config.search import RunConfig
from uxnet_eval.dataset.msd import Dataset, read_dataset
from uxnet_eval.planning.fingerprint import ClassOrder, Fingerprint, measure
from uxnet_eval.planning.mirroring import mirror_axes, mirroring_reason
from uxnet_eval.planning.rules import make_plan

# Stored S, L, A: the first axis of the file is RAS axis 2, the second is axis 0 turned, the third is axis 1.
SLA = np.array([[0, -1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)


def scans(folder: Path, num_cases: int, turned: int = 0, affine: np.ndarray | None = None) -> Dataset:
    """Cases of 12x12x12 voxels with two cubes.

    Class 2 lies behind class 1 along the file's axis 0 (before it in ``turned`` cases), beside it at
    random along axis 1, and level with it along axis 2.
    """
    rng = np.random.default_rng(0)
    cases = {}
    for index in range(num_cases):
        label = np.zeros((12, 12, 12))
        near, far = (8, 1) if index < turned else (1, 8)
        left, right = (1, 8) if index % 2 else (8, 1)
        label[near : near + 3, left : left + 3, 4:7] = 1
        label[far : far + 3, right : right + 3, 4:7] = 2
        image = rng.normal(size=label.shape).astype(np.float32)
        cases[f"case_{index:02d}"] = (image, label, np.eye(4) if affine is None else affine)
    return write_msd_folder(folder, cases, num_classes=3)


def test_orders_by_hand(tmp_path: Path) -> None:
    (order,) = measure(scans(tmp_path, 10, turned=1)).class_orders
    assert (order.first, order.second, order.num_cases) == ("class1", "class2", 10)
    assert order.share_after == (0.9, 0.5, 0.5)  # along axis 2 the centres are equal: each counts half
    # Along axes 0 and 1, the coordinates are 1 2 3 8 9 10, evenly: mean 5.5, variance 77.5/6, centres 7 apart.
    distance = 7 / np.sqrt(77.5 / 6)
    assert order.distance_sd == pytest.approx((distance, distance, 0))


def test_axes_are_those_of_the_patient_and_not_of_the_file(tmp_path: Path) -> None:
    stored = measure(scans(tmp_path / "file", 10))
    turned = measure(scans(tmp_path / "turned", 10, affine=SLA))
    assert mirror_axes(stored) == (1, 2)
    assert mirror_axes(turned) == (0, 1)  # the order along the file's first axis is one along RAS axis 2
    assert "Not along axis 2 (bottom to top): class1 comes before class2 in 100% of 10 cases." in (
        mirroring_reason(turned)
    )
    left = turned.class_orders[0].share_after[0], stored.class_orders[0].share_after[1]
    assert left == (0.5, 0.5)


def fingerprint_of(*orders: ClassOrder) -> Fingerprint:
    made = fingerprint((1, 1, 1), (40, 40, 40))
    return made.model_copy(update={"class_orders": orders})


def order(share: float, num_cases: int, distance: float = 1.0) -> ClassOrder:
    """Of classes that keep an order along axis 1 in this share of the cases, and along no other."""
    return ClassOrder(
        first="a",
        second="b",
        num_cases=num_cases,
        share_after=(0.5, share, 0.5),
        distance_sd=(1.0, distance, 1.0),
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (order(1.0, 20), (0, 2)),
        (order(0.0, 20), (0, 2)),  # always before is an order as well
        (order(0.9, 100), (0, 2)),
        (order(0.89, 100), None),  # too often the other way round
        (order(1.0, 6), None),  # sign test: 2 / 2**6 = 0.031, times three axes: chance
        (order(1.0, 7), (0, 2)),  # 2 / 2**7 * 3 = 0.047
        (order(1.0, 100, distance=0.24), None),  # a shift that is hardly seen
    ],
)
def test_rule(given: ClassOrder, expected: tuple[int, ...] | None) -> None:
    assert mirror_axes(fingerprint_of(given)) == expected


def test_more_pairs_ask_for_more_cases() -> None:
    one = order(1.0, 7)
    assert mirror_axes(fingerprint_of(one)) == (0, 2)
    assert mirror_axes(fingerprint_of(one, order(0.5, 7))) is None  # 2 / 2**7 times 6 tests


def test_one_class_speaks_against_no_axis() -> None:
    assert mirror_axes(fingerprint_of()) is None
    assert mirroring_reason(fingerprint_of()) == (
        "Along all axes: no two classes occur together, so there is no order to keep."
    )


def test_plan_writes_axes_and_reason(tmp_path: Path) -> None:
    scans(tmp_path / "set", 10)
    path = tmp_path / "x.run.yml"
    assert CliRunner().invoke(app, ["plan", str(tmp_path / "set"), "-o", str(path)]).exit_code == 0
    assert RunConfig.load(path).search.left_out_fold == 0
    assert RunConfig.load(path).plan.mirror_axes == (1, 2)
    above = path.read_text().split("mirror_axes:")[0].splitlines()[-2]
    assert above.strip() == (
        "# Not along axis 0 (left to right): class1 comes before class2 in 100% of 8 cases."
    )


def test_real_hippocampus_along_no_axis(hippocampus: Path) -> None:
    assert mirror_axes(measure(read_dataset(hippocampus))) == ()


def test_real_nuclei_along_both_axes(data_root: Path) -> None:
    folder = data_root / "Task21_DSB2018"
    if not folder.is_dir():
        pytest.skip(f"needs the real data: {data_root} holds no Task21_DSB2018")
    assert make_plan(measure(read_dataset(folder)), 8.0).mirrored == (0, 1)
