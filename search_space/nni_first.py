"""Must be imported before anything else of NNI 3.0.

It silences the two warnings that NNI gives about classes of torch that came after it, and no other; and it imports
``nni.nas.strategy`` first, because any of its modules imported before it ends in a circular import.
"""

import warnings

warnings.filterwarnings(
    "ignore",
    message=r"<class 'torch\.nn\.[\w.]*(Buffer|LinearCrossEntropyOptions)'> is found to be not a nn\.Module",
    category=RuntimeWarning,
    module=r"nni\.nas\.nn\.pytorch\.layers",
)

import nni.nas.strategy  # noqa: E402, F401
