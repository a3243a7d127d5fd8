"""The token of an experiment, for programs of the same user: its file and its use.

The manager (``door.js``) wants it from everybody. It lies in the experiment's folder, in a file
``.netrc`` that its user alone can read: ``NETRC=FOLDER/.netrc nnictl trial ls ID`` presents it too.
"""

from __future__ import annotations

import base64
import netrc
import os
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TOKEN_FILE = ".netrc"
USER = "uxnet"


def read_token(folder: Path) -> str | None:
    """The token that the manager left in the experiment's folder.

    None if there is none, or if it is another user's.
    """
    try:
        entry = netrc.netrc(folder / TOKEN_FILE).authenticators("127.0.0.1")
    except (OSError, ValueError, netrc.NetrcParseError):
        return None
    return entry[2] if entry else None


def netrc_text(token: str) -> str:
    """The ``.netrc`` with which ``nnictl`` presents a token on this machine."""
    return "".join(f"machine {host} login {USER} password {token}\n" for host in ("localhost", "127.0.0.1"))


def page_address(port: int, folder: Path | None = None, page: str = "/") -> str:
    """The address of a page of an experiment's manager.

    Args:
        port: of the manager.
        folder: the experiment's folder: the address then has its token, if it has one, and opens in
            any browser.
        page: what stands behind the port.
    """
    token = None if folder is None else read_token(folder)
    return f"http://127.0.0.1:{port}{page}" + (f"?token={token}" if token else "")


def record_source() -> tuple[str, str | None] | None:
    """The manager's address for this trial's record, and its key.

    None if the manager is out of reach. On another machine a tunnel leads to it (``remote.js``).
    """
    through_tunnel = os.environ.get("UXNET_MANAGER")
    if through_tunnel:
        url = urlsplit(through_tunnel)
        return f"{url.scheme}://{url.hostname}:{url.port}{url.path}", url.password
    return trial_channel() if os.environ.get("NNI_PLATFORM") == "local" else None


def trial_channel() -> tuple[str, str | None] | None:
    """The manager's address and this trial's key, from NNI's channel; None outside NNI."""
    base, found, _ = os.environ.get("NNI_TRIAL_COMMAND_CHANNEL", "").partition("/env/")
    if not found:
        return None
    url = urlsplit(base)
    # The name that stands in the address which launch prints: a browser keeps its cookies by name.
    host = "127.0.0.1" if url.hostname == "localhost" else url.hostname
    return f"{url.scheme}://{host}:{url.port}{url.path}", url.password


def open_url(url: str, password: str | None, timeout_s: float) -> Any:
    """The answer of the manager at ``url``, to be closed by the caller.

    Args:
        url: an address on this machine; no proxy is asked.
        password: the token or a trial's key; None if the manager has no door.
        timeout_s: seconds.

    Raises:
        OSError: if nobody answers or the answer is an error.
    """
    request = urllib.request.Request(url)
    if password is not None:
        credentials = base64.b64encode(f"{USER}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {credentials}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach this machine
    return opener.open(request, timeout=timeout_s)
