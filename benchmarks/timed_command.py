"""Runs ``uxnet`` or a command of nnU-Net in this process and notes when each part of the prediction ran.

    python -m benchmarks.timed_command PARTS.json uxnet predict -i SCANS -o LABELS --checkpoint best.pt

The command does what it does without this module; five of its functions are timed.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

READ, WINDOWS, NETWORK, WRITE = "read", "windows", "network", "write"

TIMED = {
    "uxnet": (
        ("uxnet_eval.prediction.folder_prediction", "load_scan", READ),
        ("uxnet_eval.prediction.case_prediction", "prepare_image", READ),
        ("uxnet_eval.prediction.case_prediction", "window_logits", WINDOWS),
        ("uxnet_eval.prediction.case_prediction", "_prediction", WRITE),
        ("uxnet_eval.prediction.folder_prediction", "write_label_map", WRITE),
    ),
    "nnUNetv2_predict": (
        ("nnunetv2.preprocessing.preprocessors.default_preprocessor", "DefaultPreprocessor.run_case", READ),
        (
            "nnunetv2.inference.predict_from_raw_data",
            "nnUNetPredictor.predict_logits_from_preprocessed_data",
            WINDOWS,
        ),
        (
            "nnunetv2.inference.predict_from_raw_data",
            "nnUNetPredictor._internal_maybe_mirror_and_predict",
            NETWORK,
        ),
        ("nnunetv2.inference.predict_from_raw_data", "export_prediction_from_logits", WRITE),
    ),
}
"""For each program: the functions that are timed, and the part that they belong to."""


class Parts:
    """Wall and processor time of each part, since the process began; the network's is also within the windows'."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.num_calls: dict[str, int] = {}

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """``function``, whose time is added to ``part``."""

        @functools.wraps(function, updated=())
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            start = clocks()
            self.seconds.setdefault("start-up", start)  # all before the first
            try:
                return function(*args, **kwargs)
            finally:
                before = self.seconds.get(part, [0.0, 0.0])
                self.seconds[part] = [b + now - s for b, now, s in zip(before, clocks(), start, strict=True)]
                self.num_calls[part] = self.num_calls.get(part, 0) + 1

        return wrapped

    def install(self, module_name: str, path: str, part: str) -> None:
        """Puts the timed function in the place of the one that is called ``path`` in a module."""
        owner: Any = importlib.import_module(module_name)
        *classes, name = path.split(".")
        for each in classes:
            owner = getattr(owner, each)
        function = getattr(owner, name)
        if path == "window_logits":
            function = self._with_timed_network(function)
        setattr(owner, name, self.timed(function, part))

    def _with_timed_network(self, window_logits: Callable[..., Any]) -> Callable[..., Any]:
        """``window_logits``, whose model (its first argument) has a timed network."""

        def with_timed_network(model: Any, *args: Any, **kwargs: Any) -> Any:
            return window_logits(replace(model, network=self.timed(model.network, NETWORK)), *args, **kwargs)

        return with_timed_network

    def save(self, path: Path) -> None:
        path.write_text(json.dumps({"seconds": self.seconds, "num_calls": self.num_calls}))


def clocks() -> list[float]:
    """Seconds since this process began, and the processor time of all of its threads."""
    import psutil

    return [time.time() - psutil.Process().create_time(), time.process_time()]


def entry(program: str) -> Callable[[], Any]:
    """What the program's script calls."""
    if program == "uxnet":
        from uxnet_eval.cli import main

        return main
    import multiprocessing
    from importlib.metadata import entry_points

    # On a CPU nnU-Net takes as many threads as there are cores, whatever it may use of them.
    num_threads = int(os.environ["OMP_NUM_THREADS"])
    multiprocessing.cpu_count = lambda: num_threads
    (found,) = entry_points(group="console_scripts", name=program)
    return found.load()


def main() -> None:
    target, program, *arguments = sys.argv[1:]
    parts = Parts()
    run = entry(program)
    if arguments != ["--help"]:
        for place in TIMED[program]:
            parts.install(*place)
    sys.argv = [program, *arguments]
    try:
        run()
    finally:
        parts.save(Path(target))


if __name__ == "__main__":
    main()
