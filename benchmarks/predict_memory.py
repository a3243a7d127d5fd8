"""Peak memory and time of predicting a whole volume on a CPU.

Each preset runs in a process of its own, from the file to the label map, with random weights (which cost the same):

    python benchmarks/predict_memory.py DATA/BraTS2015_mini -o benchmarks/results/predict_memory.json

DATA/BraTS2015_mini is a data set of 240x240x155 voxels; without it, noise of that size is generated.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SHAPE, NUM_CHANNELS, NUM_CLASSES = (240, 240, 155), 2, 5


def measure(
    preset: str, folder: Path | None, base_channels: int, patch: int, overlap: float
) -> dict[str, Any]:
    """Peak resident memory (GiB), time and processor time (s) of predicting the first case, in this process."""
    import nibabel as nib
    import numpy as np
    import torch

    from search_space import SearchSpaceConfig, UXNet, presets
    from uxnet_eval.config.plan import Plan
    from uxnet_eval.dataset.msd import Dataset, read_dataset
    from uxnet_eval.prediction.folder_prediction import predict_folder
    from uxnet_eval.prediction.scans import Scan
    from uxnet_eval.prediction.windows import WindowSettings

    strides = ((2, 2, 2),) * 4
    config = SearchSpaceConfig(
        levels=5,
        in_channels=NUM_CHANNELS,
        num_classes=NUM_CLASSES,
        base_channels=base_channels,
        strides=strides,
    )
    torch.manual_seed(0)
    model = SimpleNamespace(
        network=UXNet(config, presets.get(preset, 5)).eval(),
        plan=Plan(spacing_mm=(1, 1, 1), patch_size=(patch,) * 3, strides=strides),
        dataset=Dataset(
            folder=Path(),
            name="",
            channel_names=tuple(f"channel{c}" for c in range(NUM_CHANNELS)),
            class_names=tuple(f"class{k}" for k in range(NUM_CLASSES)),
            label_values=tuple(range(NUM_CLASSES)),
            cases=(),
            test_cases=(),
            spatial_dims=3,
        ),
        device=torch.device("cpu"),
        precision="32-true",
        overlap=overlap,
    )
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = Path(temporary, "checkpoint")
        checkpoint.touch()
        if folder is None:
            image = Path(temporary, "noise.nii.gz")
            noise = np.random.default_rng(0).standard_normal((*SHAPE, NUM_CHANNELS), dtype=np.float32)
            nib.save(nib.Nifti1Image(noise, np.eye(4)), image)
            del noise
        else:
            image = read_dataset(folder).cases[0].image
        started_s, started_cpu_s = time.monotonic(), time.process_time()
        outcome = predict_folder(
            [Scan("volume", (image,))], Path(temporary, "out"), {checkpoint: model}, WindowSettings()
        )
        time_s = time.monotonic() - started_s
        cpu_s = time.process_time() - started_cpu_s
        assert not outcome.failures, outcome.failures
        shape = nib.load(Path(temporary, "out", "volume.nii.gz")).shape
    return {
        "preset": preset,
        "parameters": sum(weight.numel() for weight in model.network.parameters()),
        "shape": list(shape),
        "patch": patch,
        "base_channels": base_channels,
        "overlap": overlap,
        "threads": torch.get_num_threads(),
        "time_s": round(time_s, 1),
        "cpu_time_s": round(cpu_s, 1),
        "peak_memory_gib": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2
        ),  # given in KiB
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", type=Path, help="data set of 2 channels; unless given, noise")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    parser.add_argument("--preset", nargs="+", default=["unet", "full"])
    parser.add_argument("--base-channels", type=int, default=16)
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--here", action="store_true", help="measure one preset in this process")
    options = parser.parse_args()
    if options.here:
        measured = measure(
            options.preset[0], options.data, options.base_channels, options.patch, options.overlap
        )
        print(json.dumps(measured))
        return
    results = []
    for preset in options.preset:
        command = [sys.executable, __file__, "--here", "--preset", preset]
        command += ["--base-channels", str(options.base_channels)]
        command += ["--patch", str(options.patch), "--overlap", str(options.overlap)]
        command += [str(options.data)] if options.data else []
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        print(printed, end="")
        results.append(json.loads(printed))
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
