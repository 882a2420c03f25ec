"""Where the material that comes with a checkout lies: images, annotations and weights of the demo. Imports nothing."""

from pathlib import Path

DEMO = Path(__file__).resolve().parents[1] / "demo"
"""Folder of the bundled images, annotations and weights."""
NUCLEI = DEMO / "nuclei"
"""Microscope images with ``annotations/instances_{train,val}.json`` and ``images``."""
PHOTOS = DEMO / "photos"
"""Photographs of COCO with ``annotations/instances_val.json`` and ``images``."""
PHOTO = PHOTOS / "images" / "000000126107.jpg"
"""The one photograph that benchmarks of a single image use."""
