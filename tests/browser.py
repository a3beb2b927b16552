"""Headless Chromium over its own debugging pipe: what a page shows, says and asks for."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
SILENCE = 300  # seconds that no machine needs for an answer
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


def find_browser() -> str:
    """The path of Chromium; without one the test is skipped, or fails where ``CI=true``."""
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    text = f"no browser found (looked for {', '.join(NAMES)}): install it with `apt-get install chromium`"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


@dataclass
class Page:
    """One tab, and everything that it did."""

    send: Any
    console: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path) -> None:
        """Load a file and wait until it is complete."""
        loader = self.send("Page.navigate", url=path.resolve().as_uri())["loaderId"]
        self.send.until("Page.lifecycleEvent", name="load", loaderId=loader)  # of this page, not of the one before it

    def evaluate(self, expression: str) -> Any:
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def look(self, *, width: int = 1280, height: int = 900, dark: bool = False, scale: float = 1.0) -> None:
        """Set the size of the window and the colour scheme."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def script(self, *, enabled: bool) -> None:
        self.send("Emulation.setScriptExecutionDisabled", value=not enabled)

    def screenshot(self, *, full: bool = True) -> bytes:
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        return base64.b64decode(answer["data"])

    def pdf(self) -> bytes:
        return base64.b64decode(self.send("Page.printToPDF", printBackground=True)["data"])


class Pipe:
    """Commands to the browser, answers and events from it, as JSON between NUL bytes."""

    def __init__(self, write: int, read: int) -> None:
        self.write, self.read, self.number, self.session = write, read, 0, ""
        self.rest = b""
        self.page: Page | None = None
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def until(self, event: str, **values: Any) -> None:
        """Wait for an event with these values."""
        while not any(name == event and values.items() <= what.items() for name, what in self.seen):
            self.receive()
        self.seen.clear()

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read], [], [], SILENCE)
            assert ready, f"the browser has said nothing for {SILENCE} s"
            chunk = os.read(self.read, 1 << 20)
            assert chunk, "the browser has gone"
            self.rest += chunk
        raw, _, self.rest = self.rest.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        if "method" in message:
            self.note(message["method"], message.get("params", {}))
        return message

    def note(self, event: str, what: dict[str, Any]) -> None:
        self.seen.append((event, what))
        if self.page is None:
            return
        if event == "Runtime.consoleAPICalled":
            self.page.console.append(" ".join(str(a.get("value")) for a in what["args"]))
        elif event == "Runtime.exceptionThrown":
            self.page.console.append(what["exceptionDetails"]["text"])
        elif event == "Log.entryAdded":
            self.page.console.append(what["entry"]["text"])
        elif event == "Page.javascriptDialogOpening":
            self.page.dialogs.append(what["message"])
        elif event == "Network.requestWillBeSent":
            self.page.requests.append(what["request"]["url"])


@contextmanager
def browser() -> Iterator[Page]:
    """A fresh browser with one tab."""
    path = find_browser()
    to_browser, from_browser = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        # Chromium reads commands from descriptor 3 and answers on 4
        shell = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", shell, "bash", str(to_browser[0]), str(from_browser[1]), *command],
            pass_fds=(to_browser[0], from_browser[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser[0])
        os.close(from_browser[1])
        pipe = Pipe(to_browser[1], from_browser[0])
        try:
            target = pipe("Target.createTarget", url="about:blank")["targetId"]
            pipe.session = pipe("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            page = Page(pipe)
            pipe.page = page
            for domain in ("Page", "Runtime", "Log", "Network"):
                pipe(f"{domain}.enable")
            pipe("Page.setLifecycleEventsEnabled", enabled=True)
            page.look()
            yield page
        finally:
            process.terminate()
            process.wait(timeout=SILENCE)
            os.close(to_browser[1])
            os.close(from_browser[0])
