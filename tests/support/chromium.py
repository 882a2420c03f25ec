"""Pages in a headless Chromium, by the DevTools protocol over two pipes."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
SECONDS = 60
"""How long Chromium may take for an answer."""


class Page:
    """One page: what it looks like, what it says, and what it asks for."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._loaded = False
        self.messages: list[str] = []
        """Errors and warnings of the console, and exceptions that nothing caught."""
        self.addresses: list[str] = []
        """What was asked for, but for the page itself and what lies in it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask Chromium for something."""
        self._number += 1
        content = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            content["sessionId"] = self._session
        os.write(self._requests, json.dumps(content).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self._note(answer)

    def open(self, path: Path, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Load a file in a window of that size in CSS pixels."""
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.messages, self.addresses, self._loaded = [], [], False
        self._own = path.resolve().as_uri()
        self.call("Page.navigate", url=self._own)
        while not self._loaded:
            self._note(self._next())

    def resize(self, width: int, height: int = 900) -> None:
        """Change the size of the window."""
        phone = width < 700
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def run(self, script: str) -> Any:
        """The value of an expression in JavaScript."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str, text: str = "") -> None:
        """Press a key: ``key`` as JavaScript calls it, and the text that it types."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowRight": 39}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if kind == "keyDown" and text else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **typed)

    def mouse(self, kind: str, x: float, y: float, **parameters: Any) -> None:
        """A mouse event: mousePressed, mouseReleased, mouseMoved or mouseWheel."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **parameters)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write a PNG of what is seen, or of the whole page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, *_ = select.select([self._answers], [], [], SECONDS)
            assert ready, f"no answer from Chromium for {SECONDS} s"
            piece = os.read(self._answers, 1 << 20)
            assert piece, "Chromium ended"
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(text))

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Log.entryAdded":
                self.messages.append(parameters["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.messages.append(str(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.messages.append(str(parameters["args"]))
            case "Network.requestWillBeSent":
                address = parameters["request"]["url"]
                if address != self._own and not address.startswith("data:"):
                    self.addresses.append(address)


SEEN = """(element) => {
  const around = (each) => each ? [each, ...around(each.parentElement)] : [];
  const clipped = around(element).some((each) => getComputedStyle(each).clipPath !== "none");
  return !clipped && element.checkVisibility() && !element.parentElement.closest("svg");
}"""
"""Whether an element is no part of a drawing and is seen, not only read out."""
TOLD = """(element) => `${element.tagName}: ${element.textContent.trim().slice(0, 60)}`"""
CUT = f"""[...document.querySelectorAll("body *")].filter({SEEN}).filter((element) => {{
  const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const inline = getComputedStyle(element).display === "inline";
  return words && !inline && element.scrollWidth > element.clientWidth + 1;
}}).map({TOLD})"""
"""The elements whose text is wider than they are."""
OUTSIDE = f"""[...document.querySelectorAll("body *")].filter({SEEN}).filter((element) => {{
  const box = element.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 1 || box.left < -1);
}}).map({TOLD})"""
"""The elements that reach beyond the window's sides."""
EMPTY = """[...document.querySelectorAll("svg:not(svg svg)")].filter((svg) => {
  const box = svg.getBoundingClientRect();
  return svg.checkVisibility()
    && !(box.width && box.height && svg.querySelector("path,rect,circle,line,polyline,polygon,text,image,use"));
}).length"""
"""The number of figures without a size or a mark; what is drawn within another figure may be flat."""


def require_fits(page: Page) -> None:
    """Fail unless all of the page is within the window's width and no text is cut."""
    assert page.run("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls to the side"
    for what, script in (("outside of the window", OUTSIDE), ("cut", CUT)):
        assert not (found := page.run(script)), f"{what}: {found}"


def require_quiet(page: Page) -> None:
    """Fail if the page asked for anything, or the console says anything."""
    assert not page.addresses, page.addresses
    assert not page.messages, page.messages


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are not among the numbers that Chromium uses."""
    given = os.pipe()
    reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in given)
    for end in given:
        os.close(end)
    return reading, writing


@contextmanager
def chromium() -> Iterator[Page]:
    """A browser of its own with one empty page; the test skips where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"needs a browser: {', '.join(PROGRAMS)} (apt install chromium)")
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        theirs_in, ours_out = _pipe()
        ours_in, theirs_out = _pipe()

        def connect() -> None:
            # Chromium reads from 3 and writes to 4.
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        browser = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={profile}"],
            preexec_fn=connect,
            pass_fds=(3, 4),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Page(ours_out, ours_in)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
            os.close(ours_out)
            os.close(ours_in)
