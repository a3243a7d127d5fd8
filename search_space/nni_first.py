"""Prepares NNI 3.0. Import this module before anything else of NNI.

It imports ``nni.nas.strategy`` first, because importing any of its modules before it ends in a
circular import. It also silences the two warnings that NNI gives about newer classes of torch, and
no others. NNI imports gym where it is installed; what gym prints then is for developers.
"""

import contextlib
import io
import warnings

warnings.filterwarnings(
    "ignore",
    message=r"<class 'torch\.nn\.[\w.]*(Buffer|LinearCrossEntropyOptions)'> is found to be not a nn\.Module",
    category=RuntimeWarning,
    module=r"nni\.nas\.nn\.pytorch\.layers",
)

with contextlib.suppress(ImportError), contextlib.redirect_stderr(io.StringIO()):
    import gym  # noqa: F401

import nni.nas.strategy  # noqa: E402, F401
