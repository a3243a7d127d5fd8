"""Keeps what a comparison reads of trainings, without weights: ``python -m benchmarks.keep_scores --help``.

The copies are small enough to commit, and compare like the trainings:

    python -m benchmarks.keep_scores runs/nuclei-searched-0-0/final -o scores/searched-0-0
    uxnet compare scores -o comparison
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import yaml

from search_space.errors import UserError
from search_space.reading import read_yaml
from uxnet_eval.runs.files import write_json, write_text
from uxnet_eval.runs.names import CASES_NAME, CONFIG_NAME, GENOTYPE_NAME, RESULT_NAME
from uxnet_eval.runs.result import read_result


def keep(training: Path, folder: Path) -> None:
    """Copies scores, result, genotype and configuration of a finished training.

    The copies name the data set and the genotype without the folders of this machine.

    Args:
        training: output folder of a training.
        folder: for the copies.

    Raises:
        UserError: if the training is not finished.
    """
    if not (training / RESULT_NAME).is_file():
        raise UserError(f"{training}: holds no {RESULT_NAME}; finish the training first")
    folder.mkdir(parents=True, exist_ok=True)
    settings, result = read_yaml(training / CONFIG_NAME), read_result(training)
    settings["dataset"] = Path(settings["dataset"]).name
    if result["architecture"].endswith(".json"):
        shutil.copy(training / GENOTYPE_NAME, folder)
        settings["network"]["architecture"] = result["architecture"] = GENOTYPE_NAME
    write_text(
        folder / CONFIG_NAME, yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=100)
    )
    write_json(folder / RESULT_NAME, result)
    shutil.copy(training / CASES_NAME, folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("training", type=Path, help="output folder of a finished training")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the copies")
    options = parser.parse_args()
    try:
        keep(options.training, options.output)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
