"""Free ports for the web pages of experiments."""

from __future__ import annotations

import socket

from search_space.errors import UserError

from .records import known_experiments, manager_status

FIRST_PORT = 8080
NUM_PORTS = 200


def free_port(needs_second: bool) -> int:
    """The first free port from ``FIRST_PORT`` on, and with ``needs_second`` a free one after it.

    Raises:
        UserError: if none of ``NUM_PORTS`` is free.
    """
    for port in range(FIRST_PORT, FIRST_PORT + NUM_PORTS):
        if is_free(port) and (not needs_second or is_free(port + 1)):
            return port
    raise UserError(
        f"no port from {FIRST_PORT} to {FIRST_PORT + NUM_PORTS - 1} is free; give one with --port"
    )


def require_free(port: int) -> int:
    """The same port, if it is free.

    Raises:
        UserError: if it is taken; the experiment that has it is named.
    """
    if not is_free(port):
        for name, entry in known_experiments().items():
            if entry.get("port") == port and manager_status(port, name) is not None:
                raise UserError(
                    f"port {port} is taken by experiment {name}; stop it (nnictl stop {name}) or give another --port"
                )
        raise UserError(f"port {port} is taken by another program or user; give another --port")
    return port


def is_free(port: int) -> bool:
    """True if nothing listens on the port, on any interface of this machine."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket() as probe:
        # As NNI's server does: connections of a program that has ended (TIME_WAIT) take no port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
