"""Each measurement in a process of its own, so that its peak memory is its own and it inherits no warm caches.

The processes are forked from one that has imported everything already and has computed nothing.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

PRELOADED = ["benchmarks.search_step", "benchmarks.network_step", "benchmarks.dints_step", "benchmarks.peak"]


class Isolated(NamedTuple):
    """What came out of one process."""

    value: Any
    """What the function returned."""
    peak_memory_bytes: int
    """The most main memory that the process held beyond what it started with (the imported libraries)."""
    start_memory_bytes: int
    """What it started with."""


class ProcessDied(RuntimeError):
    """The process of a measurement ended without a result, as the kernel ends one that is out of memory."""


def isolated(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Isolated:
    """Runs ``function(*args, **kwargs)`` in a process of its own; all of them must be importable or picklable.

    Raises:
        ProcessDied: if the process ended without a result.
        RuntimeError: if the function raised; the message holds its error.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, function, args, kwargs))
    process.start()
    sender.close()
    try:
        outcome, error = receiver.recv()
    except EOFError:
        process.join()
        raise ProcessDied(f"{function.__name__}: its process ended with code {process.exitcode}") from None
    finally:
        receiver.close()
    process.join()
    if error is not None:
        raise RuntimeError(f"{function.__name__}: {error}")
    return outcome


def _run(sender: Connection, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    import traceback

    import psutil

    start = psutil.Process().memory_info().rss
    outcome, error = None, None
    try:
        value = function(*args, **kwargs)
        outcome = Isolated(value, max(0, _largest_resident_bytes() - start), start)
    except Exception:
        error = traceback.format_exc()
    sender.send((outcome, error))
    sender.close()


def _largest_resident_bytes() -> int:
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
