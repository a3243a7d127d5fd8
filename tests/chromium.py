"""Headless Chromium through its DevTools protocol: just what the tests of pages need, over the websockets package."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Page:
    """One tab.

    Attributes:
        errors: what the console reported as an error, and exceptions that nothing caught.
        requests: the address of every request, ``data:`` left out.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._last_id = socket, 0
        self.errors: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, timeout_s: float = 30.0, **parameters: Any) -> dict[str, Any]:
        """Sends one command and returns its result; what happens meanwhile is noted."""
        self._last_id += 1
        self._socket.send(json.dumps({"id": self._last_id, "method": method, "params": parameters}))
        deadline = time.monotonic() + timeout_s
        while True:
            message = json.loads(self._socket.recv(timeout=max(0.1, deadline - time.monotonic())))
            if message.get("id") == self._last_id:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._note(message)

    def open(self, url: str) -> None:
        """Goes to a page; errors and requests of the one before are forgotten."""
        self.call("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self.settle()  # until the last of its requests are noted
        self.errors.clear()
        self.requests.clear()
        failed = self.call("Page.navigate", url=url).get("errorText")
        assert not failed, f"{url}: {failed}"
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, promises awaited; an exception is an AssertionError."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"].get("exception", {}).get("description", answer))
        return answer["result"].get("value")

    def wait(self, condition: str, timeout_s: float = 20.0) -> None:
        """Returns as soon as an expression is true."""
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(AssertionError):  # the page may be changing under it
                if self.run(f"!!({condition})"):
                    return
            assert time.monotonic() < deadline, (
                f"not within {timeout_s:.0f} s: {condition}; errors: {self.errors}"
            )
            time.sleep(0.1)

    def resize(self, width: int, height: int = 900) -> None:
        """Sets the size of the window, in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def press(self, key: str, code: int) -> None:
        """A key, such as ``ArrowLeft`` and 37, into what has the focus."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def click(self, x: float, y: float) -> None:
        """The left mouse button, at pixels of the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            picture = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip, timeout_s=60)
        else:
            picture = self.call("Page.captureScreenshot")
        path.write_bytes(base64.b64decode(picture["data"]))

    def settle(self, seconds: float = 0.3) -> None:
        """Lets time pass, then takes note of what happened."""
        time.sleep(seconds)
        self.run("0")

    def _note(self, message: dict[str, Any]) -> None:
        method, values = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(each.get("value", each)) for each in values["args"]))
        elif method == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(values["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = values["request"]["url"]
            if not url.startswith("data:"):
                self.requests.append(url)


def open_report(page: Page, url: str) -> None:
    """Opens a report and sees to it that nothing failed and nothing was asked of a network but the page itself."""
    page.open(url)
    page.wait("document.documentElement.dataset.ready === 'true'")
    page.settle()
    assert page.errors == [], page.errors
    assert page.requests == [url], page.requests


def program() -> str:
    """Where Chromium is; skips the test if it is nowhere."""
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    pytest.skip(f"needs a Chromium (one of {', '.join(NAMES)}; Debian, Ubuntu: apt install chromium)")


@contextlib.contextmanager
def browser(*flags: str) -> Iterator[Page]:
    """A tab of a Chromium of its own, with an empty profile and further flags; both are gone at the end."""
    path = program()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [path, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": profile},  # it leaves folders there
        )
        try:
            with connect(_tab(Path(profile) / "DevToolsActivePort", process), max_size=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _tab(announced: Path, process: subprocess.Popen[bytes], timeout_s: float = 40.0) -> str:
    """The websocket address of the first tab."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Chromium ended with code {process.returncode}"
        with contextlib.suppress(OSError, IndexError, ValueError, StopIteration):
            port = announced.read_text().splitlines()[0]
            with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                tabs = json.loads(answer.read())
            return next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        time.sleep(0.1)
    raise AssertionError(f"Chromium opened no tab within {timeout_s:.0f} s")
