"""What ``ptxas -v`` reports about each kernel."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from typing import NamedTuple

_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '(?P<architecture>\w+)'"
    r".*?(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads"
    r".*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


class KernelResources(NamedTuple):
    """Resources of a kernel on an architecture: per thread, but shared memory per block."""

    name: str
    architecture: str
    registers: int
    stack_bytes: int
    spill_store_bytes: int
    spill_load_bytes: int
    shared_bytes: int
    """Static shared memory, to which a launch adds the dynamic part."""


def parse_ptxas(log: str) -> list[KernelResources]:
    """The kernels in a compiler's output, sorted by name and architecture."""
    matches = list(_ENTRY.finditer(log))
    names = dict(zip((m["name"] for m in matches), _demangle(m["name"] for m in matches), strict=True))
    return sorted(
        KernelResources(
            name=names[m["name"]],
            architecture=m["architecture"],
            registers=int(m["registers"]),
            stack_bytes=int(m["stack"]),
            spill_store_bytes=int(m["stores"]),
            spill_load_bytes=int(m["loads"]),
            shared_bytes=int(shared[1]) if (shared := re.search(r"(\d+) bytes smem", m["rest"])) else 0,
        )
        for m in matches
    )


def _demangle(names: Iterable[str]) -> list[str]:
    """Names such as ``roi_align_planar<__half>``, without arguments; mangled where there is no c++filt."""
    names = list(names)
    tool = shutil.which("c++filt")
    if tool is None or not names:
        return names
    text = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    plain = text.replace("(anonymous namespace)::", "").splitlines()
    return [re.sub(r"^void |refinemask::|\(.*$", "", line) for line in plain]
