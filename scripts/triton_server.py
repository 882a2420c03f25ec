"""Start the Triton server that ``make triton-env`` installs: ``python -m scripts.triton_server REPOSITORY [OPTION…]``.

The package is made for being a library, and has the server's parts in places where the server does not look for them.
"""

import os
import shutil
import sys
from pathlib import Path
from tempfile import mkdtemp

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = "TRITON_ENV"
"""Environment variable with the environment of the server; without it ``.venv-triton`` of the checkout."""


def environment() -> Path:
    """The environment of the server, which need not be there."""
    return Path(os.environ.get(ENVIRONMENT, ROOT / ".venv-triton"))


def packages_of(found: Path) -> Path | None:
    """The folder of an environment's packages; None if the server is not among them."""
    return next((each.parent for each in found.glob("lib/python3.*/site-packages/pytriton")), None)


def command(packages: Path, backends: Path, repository: Path) -> list[str]:
    """The server's command line, after its parts were put together in the new folder ``backends``."""
    files = packages / "pytriton" / "tritonserver"
    stub = files / "python_backend_stubs" / packages.parent.name.removeprefix("python") / "triton_python_backend_stub"
    shutil.copytree(files / "backends" / "python", backends / "python", dirs_exist_ok=True)
    shutil.copy2(stub, backends / "python")
    server = str(files / "bin" / "tritonserver")
    return [server, "--model-repository", str(repository), "--backend-directory", str(backends)]


def variables(packages: Path) -> dict[str, str]:
    """The environment variables with which programs of that environment run this checkout's code."""
    return os.environ | {
        # The code of this checkout, whichever one the environment was made for.
        "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}",
        "PATH": f"{packages.parents[2] / 'bin'}{os.pathsep}{os.environ['PATH']}",
        # The process of a model finds its libraries by this alone.
        "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
    }


def main() -> int:
    """Become the server."""
    if len(sys.argv) < 2:
        print("usage: python -m scripts.triton_server REPOSITORY [OPTION OF THE SERVER…]", file=sys.stderr)
        return 2
    if len(sys.argv[1].split()) != 1:
        # Its Python backend splits the path there; no process of a model starts, and the server waits for ever.
        print(f"{sys.argv[1]}: Triton takes no path with a space; name one without", file=sys.stderr)
        return 2
    packages = packages_of(environment())
    if packages is None:
        print(f"there is no Triton server in {environment()}; install one: make triton-env", file=sys.stderr)
        return 2
    words = command(packages, Path(mkdtemp(prefix="triton-backends-")), Path(sys.argv[1]))
    os.execve(words[0], [*words, *sys.argv[2:]], variables(packages))


if __name__ == "__main__":
    raise SystemExit(main())
