"""Signals in the middle of an evaluation: one line, the code of the signal, whole lines in the file, no thread left."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from refinemask.evaluate import Args, main
from refinemask.evaluation import predictions as module
from tests.support.bright_box import BrightBox
from tests.support.watched import assert_no_thread_is_left

fcntl, pty, termios = (pytest.importorskip(name, reason="needs POSIX") for name in ("fcntl", "pty", "termios"))
COUNT = 40


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Annotated images, and a file for the model's name."""
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for number in range(1, COUNT + 1):
        images.append({"id": number, "file_name": f"{number}.png", "height": 20, "width": 30})
        shape = {"bbox": [0, 0, 30, 20], "area": 600, "segmentation": [[0, 0, 30, 0, 30, 20, 0, 20]]}
        annotations.append({"id": number, "image_id": number, "category_id": 9, "iscrowd": 0, **shape})
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), np.full((20, 30, 3), number, np.uint8))
    categories = [{"id": 4, "name": "a"}, {"id": 9, "name": "b"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "model.onnx").write_bytes(b"")
    return tmp_path


def arguments(data: Path) -> Args:
    return Args(
        model=data / "model.onnx",
        annotations=data / "a.json",
        images=data / "images",
        predictions=data / "out" / "p.jsonl",
        results=data / "out" / "r.json",
        output=data / "out" / "f.json",
        batch_size=2,
        workers=2,
    )


def predicted(data: Path) -> list[int]:
    """The images of whole lines in the file of predictions, which is the only file."""
    assert [path.name for path in (data / "out").iterdir()] == ["p.jsonl"]
    *lines, rest = (data / "out" / "p.jsonl").read_text().split("\n")[1:]
    assert rest == ""
    return [json.loads(line)["image_id"] for line in lines]


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize("stage", ["decode", "engine", "paste"])
def test_a_signal_in_a_stage_ends_with_what_was_predicted(
    data: Path,
    stage: str,
    number: signal.Signals,
    code: int,
    word: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = {"decode": 0, "engine": 0, "paste": 0}

    def at(place: str) -> None:
        calls[place] += 1
        if place == stage and calls[place] == 8:
            os.kill(os.getpid(), number)
            # The signal comes in the middle of what takes long.
            time.sleep(0.2)

    class Signalled(BrightBox):
        def detect(self, *args: Any, phases: Any = None, **others: Any) -> list[Any]:
            with phases("engine"):
                at("engine")
            with phases("paste"):
                at("paste")
                return super().detect(*args, **others)

    read = module.read_annotated

    def slow(*args: Any) -> Any:
        at("decode")
        return read(*args)

    monkeypatch.setattr(module, "read_annotated", slow)
    monkeypatch.setattr("engines.load", lambda *_, **__: Signalled())
    assert main(arguments(data)) == code
    assert_no_thread_is_left()
    assert capsys.readouterr().err == f"{word}\n"
    done = predicted(data)
    assert done == list(range(1, len(done) + 1))
    assert len(done) < COUNT

    monkeypatch.setattr("engines.load", lambda *_, **__: BrightBox())
    assert main(arguments(data)) == 0
    lines = (data / "out" / "p.jsonl").read_text().splitlines()[1:]
    assert [json.loads(line)["image_id"] for line in lines] == list(range(1, COUNT + 1))


SLOW = """
import os, sys, threading, time
from pathlib import Path
import engines
from refinemask.evaluate import Args, main
from tests.support.bright_box import BrightBox

class Slow(BrightBox):
    def detect(self, *args, **phases):
        os.write(1, b"inside\\n")
        time.sleep(0.3)
        return super().detect(*args, **phases)

engines.load = lambda *_, **__: Slow()
data = Path(sys.argv[1])
code = main(Args(model=data / "model.onnx", annotations=data / "a.json", images=data / "images",
                 predictions=data / "out" / "p.jsonl", output=data / "out" / "f.json"))
print([thread.name for thread in threading.enumerate()], flush=True)
raise SystemExit(code)
"""


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_beside_a_progress_bar_is_one_line(data: Path, times: int) -> None:
    terminal, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(data)], stdout=subprocess.PIPE, stderr=other, stdin=other, text=True
    )
    os.close(other)
    assert process.stdout is not None
    for _ in range(6):
        assert process.stdout.readline() == "inside\n"
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    printed = process.stdout.read()
    assert process.wait(60) == 130
    shown = b""
    with suppress(OSError):
        while part := os.read(terminal, 1 << 16):
            shown += part
    os.close(terminal)
    *bar, last = shown.decode().splitlines()
    assert "predicting" in "".join(bar)
    assert last == "interrupted"
    assert "Traceback" not in shown.decode()
    if times == 1:
        assert "refinemask" not in printed
    assert predicted(data)
