"""Shared libraries that ask for no executable stack.

PyTorch's compiler assembles weights in a way that makes the linker ask for one. A system may refuse such a library, or
a process that loads it may crash.
"""

import struct
from pathlib import Path

PT_GNU_STACK, PF_X = 0x6474E551, 1
"""Kind of the program header that tells of the stack, and its flag for executable (System V ABI, elf.h)."""


def forbid_executable_stack(library: Path) -> bool:
    """Take back a library's wish for an executable stack, in place; returns whether it had one.

    Args:
        library: a 64-bit little-endian ELF file.

    Raises:
        ValueError: the file is something else.
    """
    with library.open("r+b") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            raise ValueError(f"{library}: not a 64-bit little-endian ELF file")
        (table,), (size, count) = struct.unpack_from("<Q", header, 32), struct.unpack_from("<HH", header, 54)
        for index in range(count):
            file.seek(table + index * size)
            kind, flags = struct.unpack("<II", file.read(8))
            if kind == PT_GNU_STACK and flags & PF_X:
                file.seek(table + index * size + 4)
                file.write(struct.pack("<I", flags & ~PF_X))
                return True
    return False
