"""``uxnet convert``: published data sets into the project's layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import progress_bar

if TYPE_CHECKING:
    from ..conversion.new_dataset import NewDataset

convert = typer.Typer(
    help="Bring a published data set into the layout that every other command reads.\n\n"
    "The Decathlon's data sets need no conversion.\n\n"
    "Example: uxnet convert isic ISIC2018 -o data/ISIC2018",
    no_args_is_help=True,
)
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of the new data set; it must not exist, or be empty.")
]


@convert.command("isic")
def isic(
    folder: Annotated[
        Path,
        typer.Argument(
            exists=True, file_okay=False, help="Holds the unpacked archives of ISIC 2018's task 1."
        ),
    ],
    output: Output,
    short_side: Annotated[
        int,
        typer.Option(
            min=0, help="Pixels of the shorter side; larger images are reduced to it. 0: keep every size."
        ),
    ] = 256,
) -> None:
    """Convert ISIC 2018, task 1: photographs of skin lesions (JPEG) and their masks (PNG).

    An image's mask has its name, with or without _segmentation, in any folder. Masks hold 0 and
    255, or 0 and 1. Images in folders of the name *_Validation_Input and *_Test_Input become cases
    to test on. Faulty files are all named, and nothing is written.

    Example: uxnet convert isic ISIC2018 -o data/ISIC2018
    """
    from ..conversion.isic import convert_isic

    with progress_bar("converting the images") as progress:
        _say(convert_isic(folder, output, short_side=short_side or None, progress=progress), output)


@convert.command("acdc")
def acdc(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Holds the patients' folders, patient001 ...")
    ],
    output: Output,
) -> None:
    """Convert ACDC: two frames of each patient's cine MRI, end-diastole and end-systole.

    dataset.json says which cases are of one patient. Patients in a folder of the name testing
    become cases to test on. Faulty files are all named, and nothing is written.

    Example: uxnet convert acdc ACDC/database -o data/Task10_ACDC
    """
    from ..conversion.acdc import convert_acdc

    with progress_bar("converting the patients") as progress:
        _say(convert_acdc(folder, output, progress=progress), output)


def _say(made: NewDataset, output: Path) -> None:
    test = f" and {len(made.test)} to test on" if made.test else ""
    typer.echo(f"wrote {len(made.training)} case(s){test} to {output}; next: uxnet check {output}")
