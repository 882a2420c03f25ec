"""All commands behind one name: ``refinemask COMMAND …`` is ``python -m PACKAGE.COMMAND …``."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from refinemask import __version__
from refinemask.exit_codes import exit_code, interrupted_at_once
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.nearest import nearest

COMMANDS = {
    "convert": ("refinemask.convert", "convert an official checkpoint"),
    "inspect": ("refinemask.data.inspect", "look into a data set before training on it"),
    "train": ("refinemask.train", "train a detector by a recipe"),
    "convert-data": ("refinemask.data.convert", "write annotations of another format as a COCO file"),
    "evaluate": ("refinemask.evaluate", "measure the average precision of a model"),
    "predict": ("refinemask.predict", "detect objects in images, and draw them"),
    "batch": ("refinemask.batch.__main__", "detect objects in any number of images, on any number of machines"),
    "export": ("export.to_onnx", "export a checkpoint to ONNX, and verify the file"),
    "check": ("export.check", "find what would stop TensorRT from building a file"),
    "quantize": ("export.quantize", "quantise an exported file to int8 or fp8"),
    "build": ("engines.build", "build a TensorRT engine from an exported file, or compile a checkpoint"),
    "compare": ("benchmarks.compare", "compare engines in speed and accuracy"),
    "fps": ("benchmarks.fps", "compare engines in speed"),
}
"""Module and summary of each command."""


def main() -> int:
    """Run the command that the first argument names.

    Returns:
        The command's exit code, or 2 if there is no such command.
    """
    return exit_code(_run_command)


def _run_command() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print("usage: refinemask COMMAND … | --version    (refinemask COMMAND --help shows its arguments)\n")
        for command, (module, summary) in COMMANDS.items():
            print(f"  {command:12} {summary}    (python -m {module.removesuffix('.__main__')})")
        return 0
    if name == "--version":
        print(f"refinemask {__version__}")
        return 0
    if name not in COMMANDS:
        raise UserError(f"{name!r} is no command{nearest(name, COMMANDS)}; expected {', '.join(COMMANDS)}")
    # Each command is heavy in its own way, so only the one asked for is imported.
    package = COMMANDS[name][0].partition(".")[0]
    for ours in dict.fromkeys(("engines", package)):
        _require_own(ours)
    # The benchmarks lie in a checkout, too, where no package index has to know them.
    here = "in a checkout pip install -e benchmarks" if package == "benchmarks" else ""
    with interrupted_at_once(), needed_by(f"refinemask {name}", extra=package, otherwise=here):
        door = import_module(COMMANDS[name][0])
    sys.argv = [f"refinemask {name}", *sys.argv[2:]]
    return door.main()


def _require_own(package: str) -> None:
    """Raise a UserError if another package of this name, which is a usual one, is found before ours."""
    found = find_spec(package)
    if found is None or found.origin is None:
        # Nothing but folders of this name, if anything: the import says what is missing.
        return
    folder = Path(found.origin).parent
    # Ours lie side by side. The benchmarks, a distribution of their own, may be installed elsewhere.
    beside = folder.parent.resolve() == Path(__file__).parents[1].resolve()
    if not beside and getattr(import_module(package), "PROJECT", None) != "refinemask":
        raise UserError(
            f"{folder}: this package is found where refinemask expects its own package {package}; "
            "run the command from another folder, or in an environment without it"
        )


if __name__ == "__main__":
    raise SystemExit(main())
