"""How long the annotations of COCO train2017 take to read, and how much memory: a file of that size is made first.

python -m benchmarks.reading
"""

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.harness.child import call_in_child
from benchmarks.harness.load import peak_memory_bytes
from benchmarks.harness.provenance import Provenance, provenance
from benchmarks.harness.report_file import print_json
from refinemask.bundled import PHOTO
from refinemask.command import execute
from refinemask.data.coco import read_coco
from refinemask.files import FailedCheckError
from refinemask.options import require_at_least

ANNOTATIONS = PHOTO.parents[1] / "annotations" / "instances_val.json"
"""The annotations that are repeated."""


@dataclass(frozen=True)
class Args:
    """Repeat the bundled photographs' annotations until they are as many as COCO train2017 has, and read them."""

    images: int = 118_287
    """Images of the file."""
    objects: int = 860_001
    """Objects of the file."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One reading of a file in a process of its own."""

    seconds: float
    """Processor time of the reading alone."""
    peak_mib: int | None
    """Most memory that the process held, in MiB, its libraries included; None where the system does not tell."""
    objects: int
    """Objects that were read."""
    findings: int
    """Kinds of oddities that the reader mended or left out."""


@dataclass(frozen=True, kw_only=True)
class ReadingReport:
    """The same annotations as they should be, and with one entry to mend."""

    provenance: Provenance
    images: int
    objects: int
    file_mib: int
    """Size of the file."""
    valid: Reading
    """The file as COCO writes it."""
    imperfect: Reading
    """The same file with the id of its last object as text, so that it is read entry by entry."""


def write_repeated(path: Path, images: int, objects: int) -> None:
    """Write annotations of so many images and objects, with new ids and every polygon moved a little."""
    source = json.loads(ANNOTATIONS.read_text())
    of_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in source["images"]}
    for annotation in source["annotations"]:
        of_image[annotation["image_id"]].append(annotation)
    pictures = [image for image in source["images"] if of_image[image["id"]]]

    def entries() -> Iterator[dict[str, Any]]:
        number = 0
        for image in range(images):
            group = of_image[pictures[image % len(pictures)]["id"]]
            while number < objects * (image + 1) // images:
                number += 1
                entry = group[number % len(group)]
                # The id stands last, where the end of the file is found.
                rest = {key: value for key, value in entry.items() if key != "id"}
                yield rest | _moved(entry, image % 8 / 4) | {"image_id": image + 1, "id": number}

    copies = ({**pictures[image % len(pictures)], "id": image + 1} for image in range(images))
    with path.open("w") as file:
        file.write(f'{{"categories": {json.dumps(source["categories"])}, "images": [')
        file.writelines(chain.from_iterable((", " * bool(i), json.dumps(copy)) for i, copy in enumerate(copies)))
        file.write('], "annotations": [')
        file.writelines(chain.from_iterable((", " * bool(i), json.dumps(entry)) for i, entry in enumerate(entries())))
        file.write("]}")


def _moved(annotation: dict[str, Any], offset: float) -> dict[str, Any]:
    if isinstance(annotation["segmentation"], dict):
        return {}
    polygons = [[round(number + offset, 2) for number in polygon] for polygon in annotation["segmentation"]]
    x, y, width, height = annotation["bbox"]
    return {"segmentation": polygons, "bbox": [round(x + offset, 2), round(y + offset, 2), width, height]}


def _write_last_id_as_text(path: Path, number: int) -> None:
    end = f"{number}}}]}}"
    with path.open("r+") as file:
        file.seek(path.stat().st_size - len(end))
        file.write(f'"{number}"}}]}}')


def read(path: Path) -> Reading:
    """Read a file in this process."""
    start = time.process_time()
    dataset = read_coco(path)
    seconds = time.process_time() - start
    peak = peak_memory_bytes()
    return Reading(
        seconds=round(seconds, 2),
        peak_mib=None if peak is None else peak >> 20,
        objects=sum(map(len, dataset.annotations.values())),
        findings=len(dataset.findings),
    )


def main(args: Args | None = None) -> int:
    """Print time and memory as JSON; exit code 1 if the file is not read as it was written."""
    return execute(Args, _measure, args, description=__doc__)


def _measure(args: Args) -> None:
    require_at_least(1, images=args.images, objects=args.objects)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instances.json"
        write_repeated(path, args.images, args.objects)
        size = path.stat().st_size
        valid = call_in_child(None, read, path)
        _write_last_id_as_text(path, args.objects)
        imperfect = call_in_child(None, read, path)
    report = ReadingReport(
        provenance=provenance([ANNOTATIONS]),
        images=args.images,
        objects=args.objects,
        file_mib=size >> 20,
        valid=valid,
        imperfect=imperfect,
    )
    print_json(report)
    found = {
        name: (reading.objects, reading.findings) for name, reading in (("valid", valid), ("imperfect", imperfect))
    }
    if found != {"valid": (args.objects, 0), "imperfect": (args.objects, 1)}:
        raise FailedCheckError(f"objects and findings are {found}; expected {args.objects} objects, and 0 or 1 finding")


if __name__ == "__main__":
    raise SystemExit(main())
