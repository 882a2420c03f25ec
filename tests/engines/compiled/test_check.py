"""A package beside the checkpoint that it was compiled from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from engines.canvases import Size
from engines.compiled import check as compiled_check
from engines.compiled.check import check
from engines.compiled.program import Program, load_programs
from refinemask.agreement import PARITY, Comparison, agreement
from refinemask.bundled import PHOTOS
from refinemask.files import UserError


def test_a_full_batch_is_compared_and_one_of_a_single_image(tiny_package: Path) -> None:
    checkpoint = tiny_package.with_suffix(".safetensors")
    full, single = check(str(tiny_package), str(checkpoint), "tiny.pt2", str(PHOTOS))
    assert (full.shape, single.shape) == ((2, 64, 96), (1, 64, 96))
    agreeing, total = agreement([full, single], PARITY["fp32"])
    assert 3 < agreeing == total
    for found in (full, single):
        # As a child hands it on.
        read = Comparison.of(found.to_json())
        assert (read.shape, read.unmatched) == (found.shape, found.unmatched)
        np.testing.assert_array_equal(read.masks, found.masks)


def test_without_pictures_nothing_is_compared_but_all_code_runs(
    tiny_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks: list[Tensor] = []

    def noting(path: Path, sizes: tuple[Size, ...]) -> dict[Size, Program]:
        programs = load_programs(path, sizes)

        def noted(program: Program) -> Program:
            def compute(*inputs: Any) -> Tensor:
                masks.append(program.masks(*inputs))
                return masks[-1]

            return replace(program, masks=compute)

        return {size: noted(program) for size, program in programs.items()}

    monkeypatch.setattr(compiled_check, "load_programs", noting)
    assert list(check(str(tiny_package), "absent.safetensors", "tiny.pt2", None)) == []
    (found,) = masks
    assert found.shape[0] == 2
    assert found.isfinite().all()


def test_a_package_without_a_sidecar_is_not_loaded(package: Path) -> None:
    package.with_name("tiny.pt2.json").unlink()
    with pytest.raises(UserError, match=r"tiny\.pt2: has no sidecar"):
        list(check(str(package), "tiny.safetensors", "tiny.pt2", None))
