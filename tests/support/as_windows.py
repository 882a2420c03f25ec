"""A process that takes itself for one on Windows: trains, predicts, and imports all that can be imported.

python -m tests.support.as_windows FOLDER

What other packages import of their own system, they have imported before. Windows itself is not here: this shows that
nothing is missing that Windows has not, and no more.
"""

import fcntl
import importlib
import os
import pkgutil
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

POSIX_MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty")
"""Modules that Windows has not."""
POSIX_NAMES: dict[ModuleType, tuple[str, ...]] = {
    os: (
        *("fork", "forkpty", "fchmod", "fchown", "geteuid", "getegid", "getgid", "getpgid", "getuid", "killpg"),
        *("memfd_create", "mkfifo", "posix_fallocate", "posix_spawn", "register_at_fork", "sched_getaffinity"),
        *("setpgrp", "setsid", "statvfs", "sysconf", "uname", "wait", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK"),
    ),
    signal: ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "SIGUSR2", "pause", "pthread_sigmask"),
}
"""What modules of both systems have on one of them alone."""
OPTIONAL = {"openvino", "pycuda", "tensorrt", "tensorrt_rtx"}
"""Packages of extras that are not needed here, or that there are for Linux alone."""
USED_BEFORE = (
    *("asyncio", "cv2", "matplotlib.pyplot", "ml_dtypes", "multiprocessing", "onnx", "onnxruntime"),
    *("onnxscript", "platform", "psutil", "pycocotools.mask", "rich.progress", "safetensors.torch", "shutil", "tyro"),
    *("subprocess", "tempfile", "torch", "torch._dynamo", "torch.distributed.elastic.multiprocessing.errors"),
    *("torch.export", "torch.onnx", "torch.utils.data.dataloader", "torchvision.models", "tqdm", "zipfile"),
)


def become_windows() -> None:
    """Take away what Windows has not, and give what it has."""
    for name in USED_BEFORE:
        importlib.import_module(name)
    kernel_lock, exclusive = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB

    def locking(handle: int, mode: int, length: int) -> None:
        try:
            kernel_lock(handle, exclusive)
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error

    import psutil

    psutil.Process = lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=123 << 20))
    sys.modules["msvcrt"] = SimpleNamespace(locking=locking, LK_NBLCK=2)  # type: ignore[assignment]
    for name in POSIX_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in POSIX_NAMES.items():
        for name in names:
            delattr(module, name)
    sys.platform = "win32"


def import_everything() -> int:
    """Import each module of ours; returns how many there are."""
    count = 0
    for package in ("refinemask", "export", "engines"):
        root: Any = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, f"{package}."):
            if module.name.endswith("__main__"):
                continue
            try:
                importlib.import_module(module.name)
            except ImportError as error:
                if (error.name or "").partition(".")[0] not in OPTIONAL:
                    raise
            count += 1
    return count


def main() -> None:
    """Train, train on beside a run that holds the directory, predict, and say what was imported."""
    root = Path(sys.argv[1])
    become_windows()
    train: Any = importlib.import_module("refinemask.train")
    predict: Any = importlib.import_module("refinemask.predict")
    from refinemask.locks import locked
    from tests.support import tiny_training

    tiny_training.draw_dataset(root / "data")
    tiny_training.RECIPES["tiny"] = tiny_training.RECIPE
    arguments = train.Args(
        recipe="tiny", data_root=root / "data", output=root / "run", epochs=1, workers=0, evaluate_every=0, log_every=1
    )
    assert train.main(arguments) == 0
    with locked(root / "run" / ".lock") as free, locked(root / "run" / ".lock") as second:
        assert free
        assert not second
    weights = root / "run" / "last.safetensors"
    picture = root / "data" / "images" / "1.png"
    assert predict.main(predict.Args(images=(picture,), model=weights, output=root / "out")) == 0
    print(import_everything(), "modules")


if __name__ == "__main__":
    main()
