"""The largest component of each class."""

from __future__ import annotations

import numpy as np
import pytest

from uxnet_eval.prediction.components import largest_components


def _image(*rows: str) -> np.ndarray:
    return np.array([[int(digit) for digit in row] for row in rows], dtype=np.uint8)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            _image("1100022", "1000022", "0001000", "2001000"),
            _image("1100022", "1000022", "0000000", "0000000"),
            id="each class on its own",
        ),
        pytest.param(_image("1000", "0100", "0001"), _image("1000", "0100", "0000"), id="corners connect"),
        pytest.param(
            _image("1002", "0000", "1002"), _image("1002", "0000", "0000"), id="the first of equals"
        ),
        pytest.param(_image("0000"), _image("0000"), id="nothing there"),
        pytest.param(_image("1212"), _image("1200"), id="other classes part a class"),
        # Within the box around class 1 lies class 2, which must stay.
        pytest.param(
            _image("1110", "1020", "1001"), _image("1110", "1020", "1000"), id="box of another class"
        ),
    ],
)
def test_goldens(given: np.ndarray, expected: np.ndarray) -> None:
    before = given.copy()
    np.testing.assert_array_equal(largest_components(given), expected)
    np.testing.assert_array_equal(given, before)


def test_volume_connects_over_a_corner() -> None:
    label = np.zeros((4, 4, 4), dtype=np.int16)
    label[0, 0, 0] = label[1, 1, 1] = label[3, 3, 3] = 300
    cleaned = largest_components(label)
    assert cleaned.dtype == np.int16
    assert np.argwhere(cleaned == 300).tolist() == [[0, 0, 0], [1, 1, 1]]
