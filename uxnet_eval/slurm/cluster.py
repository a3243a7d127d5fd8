"""SLURM's own commands, and what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from search_space.errors import UserError

PROGRAMS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
TIMEOUT_S = 120.0


class Job(NamedTuple):
    """A job in the queue.

    Attributes:
        state: SLURM's word, such as PENDING or RUNNING.
        reason: why it waits; ``None`` as a word if it does not.
    """

    state: str
    reason: str


def require_cluster() -> None:
    """Raises :class:`UserError` if this machine has no SLURM, or its controller does not answer."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise UserError(
            f"{missing[0]}: not found; run this on a machine of a SLURM cluster, such as its login node"
        )
    ask("scontrol", "ping")


def has_cluster() -> bool:
    """Whether SLURM's commands are there."""
    return shutil.which("squeue") is not None


def max_array_size() -> int:
    """The largest number of jobs in an array that the cluster takes."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", ask("scontrol", "show", "config"), re.MULTILINE)
    return int(found[1]) if found else 1001  # SLURM's default


def queued(job_ids: Iterable[str]) -> dict[str, Job]:
    """The jobs of these ids (``12_3`` in an array) that are still in the queue, by id."""
    arrays = sorted({job_id.partition("_")[0] for job_id in job_ids}, key=int)
    found: dict[str, Job] = {}
    for array in arrays:
        try:
            output = ask("squeue", "--noheader", "--array", "--format=%i|%T|%r", f"--jobs={array}")
        except UserError as error:
            if "Invalid job id" in str(error):  # ended so long ago that SLURM has forgotten it
                continue
            raise
        for line in output.splitlines():
            name, state, reason = line.strip().split("|", 2)
            found[name] = Job(state, reason)
    return found


def arrays_from(folder: Path) -> set[str]:
    """The ids of this user's arrays in the queue whose script was submitted from a folder."""
    lines = ask("squeue", "--noheader", "--me", "--format=%F|%o").splitlines()
    found = [line.strip().partition("|") for line in lines]
    return {array for array, _, script in found if Path(script).parent == folder}


def cancel(job_ids: Iterable[str]) -> None:
    """Ends jobs."""
    ask("scancel", *job_ids)


def ask(*command: str) -> str:
    """The output of one of SLURM's commands; :class:`UserError` with SLURM's own words."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise UserError(f"{command[0]}: not found; run this on a machine of the SLURM cluster") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[0]} does not answer within {TIMEOUT_S:.0f} s; is SLURM down?") from None
    if done.returncode:
        raise UserError(f"SLURM: {own_words(done.stderr or done.stdout)}")
    return done.stdout


def own_words(text: str) -> str:
    """What SLURM says is wrong, in one line."""
    lines = [re.sub(r"^\w+: (?:error|fatal): ", "", line.strip()) for line in text.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line)) or "no reason given"
