import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

from refinemask.locks import locked
from tests.support.processes import wait_until

HOLDER = """
import sys
from refinemask.locks import locked
with locked(sys.argv[1]) as free:
    print(free, flush=True)
    sys.stdin.read()
"""


def test_a_lock_ends_with_its_holder_however_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with locked(path) as free:
            assert not free
        holder.kill()
    with locked(path) as free:
        assert free
        with locked(path) as second:
            assert not second, "nor does this process get it twice"


def test_a_forked_child_does_not_hold_the_lock_of_its_parent(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"):
        child = get_context("fork").Process(target=time.sleep, args=(600,))
        child.start()

    def is_free() -> bool:
        with locked(tmp_path / "lock") as free:
            return free

    try:
        # The child closes its handle as it begins.
        assert wait_until(is_free, 30)
    finally:
        child.kill()
        child.join()
