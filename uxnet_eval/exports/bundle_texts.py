"""The texts of a MONAI bundle."""

from __future__ import annotations

from ..networks.checkpoint import LoadedModel

LICENSE = """MIT License

Copyright (c) 2026 UXNet search contributors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
"""License of the code under ``scripts/``; the trainers decide on the use of the weights."""


def readme(model: LoadedModel) -> str:
    """The content of ``docs/README.md``."""
    plan, dataset = model.plan, model.dataset
    classes = "\n".join(
        f"| {value} | {name} |" for name, value in zip(dataset.class_names, dataset.label_values, strict=True)
    )
    return f"""# {dataset.name}: {model.architecture.name}

A segmentation network of UXNet search, trained on {dataset.name}. Channels: {", ".join(dataset.channel_names)}.

| label value | class |
| --- | --- |
{classes}

## Predict

Run in the folder of this bundle, with MONAI, nibabel, psutil, pydantic, pytorch-ignite and fire installed:

```sh
python -m monai.bundle run --config_file configs/inference.json --dataset_dir IMAGES --output_dir LABELS
```

IMAGES holds one file for each scan, several channels being its last axis. The label maps lie in the grid of their
scans. They are those of `uxnet predict --precision float32`.

Scans are brought into RAS order and normalised ({plan.normalization}), then resampled to
{" x ".join(f"{size:g}" for size in plan.spacing_mm)} mm. Windows of
{" x ".join(str(size) for size in plan.patch_size)} voxels overlap by {model.overlap:g} and are weighted by a Gaussian.

The bundle has no `train.json`: its training is that of `uxnet train`.

## Check

```sh
python -m monai.bundle verify_net_in_out --net_id network_def --meta_file configs/metadata.json \\
    --config_file configs/inference.json
```
"""
