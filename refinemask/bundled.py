"""Where the bundled material lies: images, annotations and weights of the demo. Imports nothing."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "demo"
DEMO = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.with_name("demo")
"""Folder of the bundled images, annotations and weights: in the installed package; in a checkout, beside it."""
NUCLEI = DEMO / "nuclei"
"""Microscope images with ``annotations/instances_{train,val}.json`` and ``images``."""
PHOTOS = DEMO / "photos"
"""Photographs of COCO with ``annotations/instances_val.json`` and ``images``."""
PHOTO = PHOTOS / "images" / "000000126107.jpg"
"""The one photograph that benchmarks of a single image use."""
