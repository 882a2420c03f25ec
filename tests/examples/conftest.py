"""The one export of the bundled model that the tests of the examples share."""

from pathlib import Path

import pytest

from examples import export_and_compare
from tests.support.once import once


@pytest.fixture(scope="session")
def compared(run_directory: Path) -> Path:
    """The folder that the comparison of engines wrote: the exported file and the report."""

    def make(directory: Path) -> None:
        export_and_compare.main(directory, limit=2, threads=1)

    return once(run_directory / "export_and_compare", make)


@pytest.fixture(scope="session")
def nuclei_onnx(compared: Path) -> Path:
    """The bundled model as examples export it; they use again what they find under this name."""
    return compared / "refinemask-nuclei.onnx"
