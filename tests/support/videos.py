"""Small videos in files, from a web server, and from captures that are none."""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np

HEIGHT, WIDTH = 48, 64
STEP = 10
MATRICES = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
"""Of MP4's header, by the degrees clockwise that a player turns the frames."""


def grey(number: int) -> np.ndarray:
    """Frame ``number``, [48, 64, 3] BGR: a value for each of 25 numbers, with a blue upper left quarter."""
    frame = np.full((HEIGHT, WIDTH, 3), STEP * (number % 25), np.uint8)
    frame[: HEIGHT // 2, : WIDTH // 2] = 255, 0, 0
    return frame


def number_of(image: np.ndarray) -> int:
    """The number of a frame, by its lower right corner."""
    return round(float(image[HEIGHT // 2 + 8 :, WIDTH // 2 + 8 :].mean()) / STEP)


def write_video(path: Path, frames: int, fps: float = 20.0) -> Path:
    """A video of :func:`grey` frames; a .avi holds JPEGs, others MPEG-4."""
    code = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(grey(number))
    writer.release()
    return path


def turn(path: Path, degrees: int) -> Path:
    """Let the header of an MP4 say that a player turns it, as phones do."""
    data = bytearray(path.read_bytes())
    first, second, third, fourth = (value << 16 for value in MATRICES[degrees])
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, first, second, 0, third, fourth, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


class FakeCapture:
    """Gives ``frames`` frames and then ends; each waits for ``wait``."""

    def __init__(self, frames: int, *, wait: Callable[[], Any] = lambda: None, opened: bool = True) -> None:
        self.frames = frames
        self.released = False
        self._wait = wait
        self._opened = opened
        self._number = -1

    def isOpened(self) -> bool:  # noqa: N802
        return self._opened

    def grab(self) -> bool:
        assert not self.released
        self._wait()
        self._number += 1
        return self._number < self.frames

    def retrieve(self) -> tuple[bool, Any]:
        return True, grey(self._number)

    def get(self, propId: int) -> float:  # noqa: N803
        return {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_FRAME_COUNT: float(self.frames)}.get(propId, 0.0)

    def release(self) -> None:
        self.released = True


@contextmanager
def mjpeg_server(frames: int, *, then_hangs: bool = False) -> Iterator[str]:
    """The URL of a stream of JPEGs, as network cameras have it; each connection gives ``frames`` of them."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for number in range(frames):
                jpeg = cv2.imencode(".jpg", grey(number))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:
                    return
                time.sleep(0.005)
            if then_hangs:
                over.wait()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/live"
        finally:
            over.set()
            server.shutdown()
            thread.join()
