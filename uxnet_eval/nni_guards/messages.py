"""Guards around NNI's imports and its reading of JSON."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator


def quiet_nni_import() -> None:
    """Silences only the two warnings of ``nni.nas`` about classes of torch unknown to it."""
    warnings.filterwarnings(
        "ignore",
        message=r"<class 'torch\.nn\.[\w.]*(Buffer|LinearCrossEntropyOptions)'> is found to be not a nn\.Module",
        category=RuntimeWarning,
        module=r"nni\.nas\.nn\.pytorch\.layers",
    )


@contextlib.contextmanager
def keep_urls_in_messages() -> Iterator[None]:
    """A context in which NNI's JSON reader does not treat ``#`` and ``//`` as comments.

    The multi-trial NAS strategies send base64, in which ``//`` comes up by chance; their main
    process needs this around ``NasExperiment.run`` or the strategy's own run.
    """
    from json_tricks import nonp

    original = nonp.strip_comments
    nonp.strip_comments = lambda string, *_args, **_kwargs: string
    try:
        yield
    finally:
        nonp.strip_comments = original
