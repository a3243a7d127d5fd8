"""``nnictl`` as a module that waits for its manager.

NNI 3.0 gives the manager about three seconds to listen, and then kills it. A busy machine needs
more. This waits until the manager answers or has ended, for 90 s at most.
"""

from __future__ import annotations

import contextlib
import sys
import time

import psutil
from nni.experiment import launcher, rest

MAX_WAIT_S, POLL_S = 90.0, 0.5


def wait_for_manager(port: int, retry: int = 0, url_prefix: str | None = None) -> None:
    """Returns as soon as the manager answers; takes the place of NNI's ``_check_rest_server``.

    Args:
        port: of the manager.
        retry: not used; NNI's number of tries.
        url_prefix: of the manager's addresses.

    Raises:
        Exception: that of the request, if the manager has ended or does not answer in time.
    """
    deadline = time.monotonic() + MAX_WAIT_S
    while time.monotonic() < deadline and _has_living_child():
        with contextlib.suppress(Exception):
            rest.get(port, "/check-status", url_prefix)
            return
        time.sleep(POLL_S)
    rest.get(port, "/check-status", url_prefix)


def _has_living_child() -> bool:
    return any(child.status() != psutil.STATUS_ZOMBIE for child in psutil.Process().children())


if __name__ == "__main__":
    from nni.tools.nnictl.nnictl import parse_args  # imports pkg_resources, which warns

    launcher._check_rest_server = wait_for_manager
    sys.argv[0] = "nnictl"
    sys.exit(parse_args())
