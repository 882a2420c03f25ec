"""How a GPU multiplies float32, as PyTorch's settings say, which exist without a GPU."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError

import pytest
import torch

from refinemask.float32 import float32_products


def settings() -> tuple[str, str]:
    backends = torch.backends
    return backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision  # type: ignore[attr-defined]


def test_the_settings_hold_inside_and_are_given_back() -> None:
    before = settings()
    with float32_products(tf32=False):
        assert settings() == ("ieee", "ieee")
        with float32_products(tf32=True):
            assert settings() == ("tf32", "tf32")
        assert settings() == ("ieee", "ieee")
    assert settings() == before
    with pytest.raises(ZeroDivisionError), float32_products(tf32=True):
        raise ZeroDivisionError
    assert settings() == before


@pytest.mark.parametrize(
    "own",
    [
        "pass",
        "torch.backends.cudnn.allow_tf32 = False",
        "torch.backends.cuda.matmul.allow_tf32 = True",
        "torch.set_float32_matmul_precision('high')",
        "torch.backends.fp32_precision = 'ieee'",
    ],
)
def test_a_program_with_settings_of_its_own_is_neither_warned_nor_changed(own: str) -> None:
    script = (
        "import torch, warnings\n"
        "from refinemask.float32 import float32_products\n"
        f"{own}\n"
        "def old(): return (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)\n"
        "expected = None if 'fp32_precision' in %r else old()\n"
        "warnings.simplefilter('error')\n"
        "for tf32 in (False, True):\n"
        "    with float32_products(tf32=tf32): torch.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3))\n"
        "assert expected is None or old() == expected\n"
    ) % own
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_take_turns() -> None:
    together, met = Barrier(2), []

    def run(tf32: bool) -> tuple[str, str]:
        with float32_products(tf32=tf32):
            try:
                together.wait(timeout=0.2)
                met.append(tf32)
            except BrokenBarrierError:
                pass
            return settings()

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(run, [False, True])) == [("ieee", "ieee"), ("tf32", "tf32")]
    assert not met
