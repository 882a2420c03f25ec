"""Command lines of the pages are understood by the commands that they call."""

from pathlib import Path

import pytest

from tests.support.markdown_pages import Page, pages
from tests.support.shell_lines import command_fault, inline_faults, shell_faults, shell_lines, simple_commands


@pytest.mark.parametrize("page", pages(), ids=str)
def test_every_command_in_a_block_is_understood(page: Page) -> None:
    assert not shell_faults(page)


@pytest.mark.parametrize("page", pages(), ids=str)
def test_every_command_in_backticks_names_what_exists(page: Page) -> None:
    assert not inline_faults(page)


def test_the_pages_call_commands() -> None:
    words = [words for page in pages() for line in shell_lines(page) for words in simple_commands(line)]
    assert sum("-m" in command for command in words) > 10


def test_a_line_is_read_as_a_shell_reads_it(tmp_path: Path) -> None:
    page = Page(
        tmp_path / "page.md", "```bash\n$ A=1 make demo \\\n  X=2  # why\ncd a && pip install '.[b]' > log | c\n```"
    )
    commands = [words for line in shell_lines(page) for words in simple_commands(line)]
    assert commands == [["make", "demo", "X=2"], ["cd", "a"], ["pip", "install", ".[b]"], ["c"]]


EXPORT = "python -m export.to_onnx r50.safetensors -o r50.onnx"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("python -m refinemask.training", "there is no command refinemask.training"),
        ("python -m nothing.there", "there is no module nothing.there"),
        ("python examples/missing.py", "there is no file examples/missing.py"),
        ("refinemask trains --recipe x", "no such command"),
        ("make tests", "the Makefile has no target tests"),
        ("pip install 'refinemask[everything]'", "has no extra everything"),
        ("pip install -e '.[dev,everything]'", "has no extra everything"),
        ("uv pip install 'refinemask[everything]'", "has no extra everything"),
        (f"{EXPORT} --mask found", "mask"),
        (f"{EXPORT} --masks some", "masks"),
        (f"{EXPORT} more.onnx", "more.onnx"),
        (f"{EXPORT} --mask …", "has no option --mask"),
        ("python -m export.to_onnx r50.safetensors", "output"),
        ("refinemask export -o r50.onnx", "MODEL"),
        ("torchrun --nproc-per-node 8 -m refinemask.train --recipes …", "has no option --recipes"),
        ("python -m benchmarks.compare --table efficiency --annotation …", "has no option --annotation"),
        ("python -m benchmarks.gpu_suite -o out --part nothing", "nothing"),
    ],
)
def test_a_command_that_does_not_exist_is_found(tmp_path: Path, line: str, fault: str) -> None:
    faults = shell_faults(Page(tmp_path / "page.md", f"```\n{line}\n```"))
    assert len(faults) == 1
    assert fault in faults[0].removeprefix(f"page.md: {line}: ")


@pytest.mark.parametrize(
    "line",
    [
        EXPORT,
        f"{EXPORT} --masks=found --static 800x1344",
        f".venv/bin/{EXPORT} --batch 1 2 8",
        "refinemask export r50.safetensors --output r50.onnx --no-bodies",
        "python -m refinemask.predict a.jpg b.jpg --model r50.onnx -o out",
        "python -m benchmarks.compare a.onnx b.onnx --annotations … --images …",
        "python -m benchmarks.compare --table efficiency --backends pytorch tensorrt:fp16",
        "python -m benchmarks.random_weights -o a.safetensors mask-head:fcn-mask-config",
        "python -m benchmarks.gpu_suite -o out --part packages",
        "uv run refinemask train --recipe nuclei-demo",
        "pip install 'refinemask[dev]'",
        "make test PYTHON=python3.12",
        "ls -l",
    ],
)
def test_a_good_command_is_no_fault(line: str) -> None:
    assert [command_fault(words) for words in simple_commands(line)] == [None]


def test_a_wrong_option_in_backticks_is_found(tmp_path: Path) -> None:
    page = Page(tmp_path / "page.md", "`python -m refinemask.train --recip`, `make demo`, `refinemask fps --images`")
    assert inline_faults(page) == [
        "page.md: `python -m refinemask.train --recip`: refinemask train has no option --recip"
    ]
