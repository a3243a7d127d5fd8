"""TensorBoard behind the door of NNI's manager, which runs this file as a script (``loopback.js``).

It answers to names of this machine alone and wants the token or the cookie of the experiment, as
``door.js`` does: a browser sends the cookie of NNI's page here too, for cookies do not tell ports
apart. It ends with the manager, however that ends.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

LOCAL_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def behind_door(app: WsgiApp, token: str, cookie: str, is_open: bool = False) -> WsgiApp:
    """The same WSGI application for those alone who may use it.

    Args:
        app: TensorBoard.
        token: the experiment's, the password of basic authentication.
        cookie: ``name=value`` of the browser's cookie that stands for it.
        is_open: to the network, where this machine has other names too.
    """
    basic = "Basic " + base64.b64encode(f"uxnet:{token}".encode()).decode()

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
        cookies = [each.strip() for each in environ.get("HTTP_COOKIE", "").split(";")]
        if not (is_open or LOCAL_HOST.fullmatch(host)) or origin not in (None, f"http://{host}"):
            fault = "403 Forbidden", b"Another host or a page of another origin asks.\n"
        elif not (
            any(_same(each, cookie) for each in cookies)
            or _same(environ.get("HTTP_AUTHORIZATION", ""), basic)
        ):
            fault = (
                "401 Unauthorized",
                b"Open NNI's page first, with the address that uxnet launch printed.\n",
            )
        else:
            return app(environ, start_response)
        start_response(fault[0], [("Content-Type", "text/plain"), ("Content-Length", str(len(fault[1])))])
        return [fault[1]]

    return guarded


def end_with(parent: int, poll_s: float = 0.5) -> None:
    """Ends this process as soon as the process ``parent`` is no longer its parent."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(poll_s)
        os.kill(os.getpid(), signal.SIGKILL)  # its other threads may hang

    threading.Thread(target=watch, daemon=True).start()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def main() -> None:
    """Runs TensorBoard with the arguments of the command line."""
    # This file's folder is no place to import from: its modules bear general names.
    sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(os.path.abspath(__file__))]
    token, cookie = os.environ.pop("UXNET_DOOR_TOKEN"), os.environ.pop("UXNET_DOOR_COOKIE")
    is_open = os.environ.pop("UXNET_DOOR_OPEN") == "1"
    end_with(int(os.environ.pop("UXNET_DOOR_PARENT")))
    from absl import app
    from tensorboard import default, main_lib, program

    def server(wsgi_app: WsgiApp, flags: Any) -> Any:
        return program.create_port_scanning_werkzeug_server(
            behind_door(wsgi_app, token, cookie, is_open), flags
        )

    main_lib.global_init()
    tensorboard = program.TensorBoard(plugins=default.get_plugins(), server_class=server)
    app.run(tensorboard.main, flags_parser=tensorboard.configure)


if __name__ == "__main__":
    main()
