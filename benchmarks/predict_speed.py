"""``python -m benchmarks.predict_speed DATA -o FILE.json``: ``uxnet predict`` beside ``nnUNetv2_predict`` on a CPU.

Both predict the same scans in the same windows, in commands of their own that take turns. Needs nnunetv2 and onnxruntime
(``.venv-exports`` of ``make test-exports``).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from search_space.replacing import replacing

from .timed_command import NETWORK, READ, WINDOWS, WRITE

ROOT = Path(__file__).parents[1]
HELP = "help"
FORMS = {
    "uxnet-bfloat16": "uxnet predict, bfloat16",
    "uxnet-float32": "uxnet predict, float32",
    "uxnet-onnx": "uxnet predict, onnxruntime",
    "nnunet-own": "nnUNetv2_predict, our network",
    "nnunet-default": "nnUNetv2_predict, its own network",
    "nnunet-mirrored": "nnUNetv2_predict, its own network, mirrored",
}
PARTS = ("start-up", READ, NETWORK, WINDOWS, WRITE)
COLUMNS = {
    "start-up": "start-up",
    READ: "read, prepare",
    NETWORK: "network",
    WINDOWS: "joining windows",
    WRITE: "back to the grid, write",
}


def main(
    data: Annotated[Path, typer.Argument(help="Data set in MSD layout, such as Task04_Hippocampus.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file.")],
    scans: Annotated[int, typer.Option(min=1, help="How many scans each command predicts.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="How often each command runs.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of every command.")] = 1,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="What uxnet train wrote for nnU-Net's windows; the scans are those that it was not trained on. "
            "Unless given: random weights, which cost the same."
        ),
    ] = None,
    nnunet_model: Annotated[
        Path | None,
        typer.Option(help="nnUNetTrainer__PLANS__3d_fullres with fold_0, trained on the same cases."),
    ] = None,
    windows: Annotated[
        Path | None,
        typer.Option(
            help="Plans of nnU-Net: all commands take their windows, though the networks were trained on smaller "
            "patches. Unless given: those of the training, or of nnU-Net's plans for the data.",
        ),
    ] = None,
    architecture: Annotated[str, typer.Option(help="Without a checkpoint: what to build.")] = "preset:unet",
    base_channels: Annotated[float, typer.Option(help="Without a checkpoint: its width.")] = 16,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="Run nnU-Net with mirroring too, which is its default.")
    ] = False,
) -> None:
    """Time per scan, and where it goes: ``uxnet predict`` and ``nnUNetv2_predict`` side by side."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
    import torch

    from uxnet_eval.dataset.msd import read_dataset

    from .device import load_average, machine
    from .nnunet_side import NNUNetFolders, mean_dice, prepare

    torch.set_num_threads(threads)
    dataset = read_dataset(data)
    held_out = _held_out(checkpoint)
    cases = [case for case in dataset.cases if held_out is None or case.case_id in held_out][:scans]
    with tempfile.TemporaryDirectory() as temporary:
        folders = NNUNetFolders(Path(temporary))
        os.environ |= folders.environment
        contenders = prepare(
            folders, dataset, cases, checkpoint, nnunet_model, architecture, base_channels, windows
        )
        commands = _commands(folders.scans, contenders.checkpoint, contenders.onnx, mirrored)
        trained = [
            form
            for form in commands
            if (nnunet_model if form in ("nnunet-default", "nnunet-mirrored") else checkpoint) is not None
        ]
        runs: dict[str, list[dict[str, Any]]] = {form: [] for form in (HELP, *commands)}
        loads, dice = [], {}
        for number in range(rounds):
            for form, command in {HELP: ["uxnet", "--help"], **commands}.items():
                labels = folders.folder / f"{form}-{number}"
                command = [str(labels) if word == "OUTPUT" else word for word in command]
                runs[form].append(timed(command, folders.folder / "parts.json"))
                loads.append(load_average())
                print(f"round {number + 1}: {form}: {runs[form][-1]['wall_s']:.2f} s", flush=True)
                if form in trained and number == 0:
                    dice[form] = mean_dice(labels, folders.references, dataset)
    model = contenders.model
    results = {
        "data": dataset.name,
        "num_scans": len(cases),
        "scans": [case.case_id for case in cases],
        "rounds": rounds,
        "patch_size": list(model.plan.patch_size),
        "overlap": model.overlap,
        "architecture": model.architecture.name if checkpoint is None else checkpoint.parent.name,
        "base_channels": model.base_channels,
        "parameters": {"uxnet": contenders.own_parameters, "nnunet": contenders.nnunet_parameters},
        "machine": machine(threads),
        "versions": _versions(),
        "load_averages": loads,
        "help": _medians(runs.pop(HELP), threads),
        "forms": {
            form: {
                "what": FORMS[form],
                **_medians(found, threads),
                "dice": dice.get(form),
                "runs": found,
            }
            for form, found in runs.items()
        },
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as part:
        part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))


def _held_out(checkpoint: Path | None) -> set[str] | None:
    """The cases that a training of ``uxnet train`` left out; None without a checkpoint."""
    if checkpoint is None:
        return None
    folds = json.loads((checkpoint.parent / "folds.json").read_text(encoding="utf-8"))
    return set(folds["folds"][folds["fold"]])


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("nnunetv2", "onnxruntime", "torch", "monai")}


def _commands(scans: Path, checkpoint: Path, onnx: Path, mirrored: bool) -> dict[str, list[str]]:
    """The command of each form; OUTPUT stands for a folder of its own."""
    ours = ["uxnet", "predict", "-i", str(scans), "-o", "OUTPUT", "--device", "cpu", "--checkpoint"]
    theirs = ["nnUNetv2_predict", "-d", "1", "-c", "3d_fullres", "-f", "0", "-device", "cpu"]
    theirs += ["-i", str(scans), "-o", "OUTPUT", "-npp", "0", "-nps", "0"]  # no further processes
    commands = {
        "uxnet-bfloat16": [*ours, str(checkpoint), "--precision", "bfloat16"],
        "uxnet-float32": [*ours, str(checkpoint), "--precision", "float32"],
        "uxnet-onnx": [*ours, str(onnx)],
        "nnunet-own": [*theirs, "-p", "uxnetPlans", "--disable_tta"],
        "nnunet-default": [*theirs, "-p", "nnUNetPlans", "--disable_tta"],
    }
    if mirrored:
        commands["nnunet-mirrored"] = [*theirs, "-p", "nnUNetPlans"]
    return commands


def timed(command: Sequence[str], parts: Path) -> dict[str, Any]:
    """Wall and processor time of one command, of its parts, and how many windows the network saw."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.timed_command", str(parts), *command],
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {output.read().decode(errors='replace')[-3000:]}")
    found = json.loads(parts.read_text())
    return {
        "wall_s": wall_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "parts": found["seconds"],
        "num_windows": found["num_calls"].get(NETWORK),
    }


def _medians(runs: Sequence[Mapping[str, Any]], threads: int) -> dict[str, Any]:
    """Of the whole command and of its parts: processor time with one thread, else wall time."""
    clock = 1 if threads == 1 else 0
    total_s = statistics.median(run["cpu_s" if clock else "wall_s"] for run in runs)
    if not runs[0]["parts"]:
        return {"total_s": total_s, "wall_s": statistics.median(run["wall_s"] for run in runs)}
    parts = {part: statistics.median(run["parts"][part][clock] for run in runs) for part in PARTS}
    parts[WINDOWS] -= parts[NETWORK]
    return {
        "total_s": total_s,
        "wall_s": statistics.median(run["wall_s"] for run in runs),
        "parts_s": parts,
        "num_windows": runs[0]["num_windows"],
    }


def table(results: Mapping[str, Any]) -> str:
    """The results as Markdown: the time per scan, without and with the start-up, and its parts."""
    scans, trained = results["num_scans"], any(row["dice"] for row in results["forms"].values())
    head = ["command", "one scan, cold (s)", "each further scan (s)", "against nnU-Net's", *COLUMNS.values()]
    lines = [head + (["Dice"] if trained else [])]
    further = {form: _per_scan(row, scans) for form, row in results["forms"].items()}
    for form, row in results["forms"].items():
        parts = row["parts_s"]
        cold = parts["start-up"] + further[form]
        faster = further["nnunet-default"] / further[form]
        cells = [row["what"], f"{cold:.1f}", f"{further[form]:.2f}", f"{faster:.1f} x"]
        cells += [f"{parts['start-up']:.1f}", *(f"{parts[part] / scans:.2f}" for part in PARTS[1:])]
        lines.append(
            cells + ([f"{row['dice']['mean']:.4f}" if row["dice"] else "not trained"] if trained else [])
        )
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _per_scan(row: Mapping[str, Any], num_scans: int) -> float:
    """Seconds that a scan takes after the start-up."""
    return float(sum(seconds for part, seconds in row["parts_s"].items() if part != "start-up") / num_scans)


if __name__ == "__main__":
    typer.run(main)
