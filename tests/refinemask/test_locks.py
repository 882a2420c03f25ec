import subprocess
import sys
from pathlib import Path

from refinemask.locks import locked

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
