"""Lists that grow on disk."""

import io
import json

from refinemask.writers.scratch import Scratch


def test_half_an_entry_of_an_interrupted_write_is_no_part_of_the_list() -> None:
    scratch, file = Scratch(), io.BytesIO()
    scratch.append(['"a"'])
    end = scratch.end
    scratch.append(['"b"', '"c"'])
    # As a system call leaves it that was interrupted.
    scratch._file.write(b',\n"d')
    scratch.copy_to(file)
    assert json.loads(file.getvalue()) == ["a", "b", "c"]
    file = io.BytesIO()
    scratch.copy_to(file, end)
    assert json.loads(file.getvalue()) == ["a"]
    scratch.close()
