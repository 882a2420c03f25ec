"""A COCO results file of any tool: sorted by image when it is opened, and read one image at a time."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from pycocotools import mask as coco_mask

from refinemask.data.coco import CocoDataset, CocoImage
from refinemask.data.coco_entries import whole_number
from refinemask.data.coco_file import without_garbage_collection
from refinemask.data.findings import Findings, print_findings
from refinemask.data.segmentation import read_segmentation
from refinemask.distributed import say
from refinemask.evaluation.metrics import listed
from refinemask.evaluation.results import read_results
from refinemask.files import UserError
from refinemask.json_files import read_json, short
from refinemask.masks import segmentation_rle
from refinemask.readable import require_readable
from refinemask.structures import Result

EXPECTED = "COCO results, a list of {image_id, category_id, score, and bbox or segmentation}"

NOTHING = {"bbox": (b"null", b"[]"), "segmentation": (b"null",)}
"""JSON of what an entry lacks; an empty list of polygons is a mask that no pixel is left of."""


class _Head(msgspec.Struct):
    """What sorts an entry; the rest of it is read with its image."""

    image_id: Any = None
    file_name: Any = None
    category_id: Any = None
    bbox: msgspec.Raw = msgspec.Raw(b"null")
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class ResultsFile(Mapping[int, list[Result]]):
    """The results of every image of a data set, by image id; an image that the file does not name has none.

    Beside the file's text there is only the place of each entry in memory. What ``read_results`` takes is taken: masks
    may be polygons or run lengths of either form, and ids floats. Ids of images may also be the files' names without
    ending. A ``file_name`` beside an id of another image wins: ``refinemask.predict`` counts its images itself. Where
    an entry has no ``bbox``, it gets that of its mask, and the mask's ``area``, as pycocotools gives it.
    """

    def __init__(self, path: str | os.PathLike[str], dataset: CocoDataset) -> None:
        """Open a file; what is left out or odd is printed to standard error, one line for each kind.

        Args:
            path: the file.
            dataset: the annotations that the results belong to.

        Raises:
            UserError: the file cannot be read or is no results file, an entry has neither mask nor box, or none is of
                an image and a category of ``dataset``.
        """
        self.path = Path(path)
        self._images = {image.id: image for image in dataset.images}
        self._entries: dict[int, list[Any]] = {image.id: [] for image in dataset.images}
        self.some_masks = False
        """Whether an entry has a mask."""
        self._first_without: dict[str, int] = {}
        with without_garbage_collection():
            self._sort(_entries(path), dataset)

    @property
    def without_mask(self) -> int | None:
        """Position of the first entry without a mask; None if all have one."""
        return self._first_without.get("segmentation") if self.some_masks else 0

    def _sort(self, entries: list[Any], dataset: CocoDataset) -> None:
        findings, named, decoder = Findings(), _Named(dataset.images), msgspec.json.Decoder(_Head)
        kept = known = 0
        for position, entry in enumerate(entries):
            head = _head(self.path, position, entry, decoder)
            self._note_kinds(position, head)
            number, image_id = whole_number(head.image_id), named.image_of(head)
            if image_id is None:
                which = f"result {position} (image {short(head.file_name or head.image_id)})"
                findings.left_out("results of images that the annotations lack", which)
                continue
            if image_id != number:
                findings.mended("results that name their image by its file", f"result {position}")
            self._entries[image_id].append(entry)
            kept += 1
            if whole_number(head.category_id) in dataset.categories:
                known += 1
            else:
                which = f"result {position} (category {short(head.category_id)})"
                findings.note("results of categories that the annotations lack (they count for nothing)", which)
        if entries and not known:
            _refuse(self.path, len(entries), dataset, findings, of_images=kept > 0)
        print_findings(self.path, findings)

    def _note_kinds(self, position: int, head: _Head) -> None:
        """Note which of box and mask an entry has; every file must have one of them in all its entries."""
        absent = [key for key, nothing in NOTHING.items() if bytes(getattr(head, key)) in nothing]
        for key in absent:
            self._first_without.setdefault(key, position)
        if len(self._first_without) == 2:
            what = "no bbox" if absent == ["bbox"] else "no segmentation" if len(absent) == 1 else "neither"
            raise UserError(
                f"{self.path}: result {position} has {what}; expected {EXPECTED}, and the same of both in all results"
            )
        # Some tools write boxes alone with empty lists of polygons.
        self.some_masks = self.some_masks or ("segmentation" not in absent and bytes(head.segmentation) != b"[]")

    def restrict(self, image_ids: Iterable[int]) -> None:
        """From now on hold only the results of these images."""
        self._entries = {image_id: self._entries[image_id] for image_id in image_ids}

    def say_if_incomplete(self) -> None:
        """Print to standard error how many images have no result, if there are any."""
        if self.empty:
            say(
                f"{self.path}: {self.empty} of {len(self)} images have no result; they count as images in which "
                "nothing was found"
            )

    @property
    def empty(self) -> int:
        """Number of images without a result."""
        return sum(not entries for entries in self._entries.values())

    @property
    def counts(self) -> list[int]:
        """Number of results of each image."""
        return [len(entries) for entries in self._entries.values()]

    def check(self) -> None:
        """Read every image's results once.

        Raises:
            UserError: an entry is malformed, or its mask is of another size than its image.
        """
        required = ("bbox", "segmentation") if self.without_mask is None else ("bbox",)
        with self.errors_named():
            for image_id, results in self.items():
                image = self._images[image_id]
                read_results(results, image.height, image.width, f"results of image {image_id}", required)

    @contextmanager
    def errors_named(self) -> Iterator[None]:
        """Within the block errors begin with the file's name: what reads one image's results does not know it."""
        try:
            yield
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from error

    def __getitem__(self, image_id: int) -> list[Result]:
        image, results = self._images[image_id], []
        for position, entry in enumerate(self._entries[image_id]):
            try:
                results.append(_completed(entry, image))
            except ValueError as error:
                raise UserError(f"results of image {image_id}: result {position}: {error}") from error
        return results

    # A mapping's own would read the results.
    def __contains__(self, image_id: object) -> bool:
        return image_id in self._entries

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _entries(path: str | os.PathLike[str]) -> list[Any]:
    """The entries of a file as their JSON text, or, in a file that only Python takes for JSON, as its values."""
    require_readable(path)
    data = Path(path).read_bytes()
    try:
        return msgspec.json.decode(data, type=list[msgspec.Raw])
    # Text may be no UTF-8, which is a ValueError of Python's.
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        lines = msgspec.json.Decoder(msgspec.Raw).decode_lines(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        lines = []
    if len(lines) > 1:
        _require_results(path, msgspec.json.decode(lines[0]))
        return lines
    content = read_json(path, EXPECTED)
    if not isinstance(content, list):
        _require_results(path, content)
        return [content]
    return content


def _require_results(path: str | os.PathLike[str], content: Any) -> None:
    """Raise a UserError unless the content of a file that is no list is one entry."""
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a JSON {type(content).__name__}, expected {EXPECTED}")
    if "image_id" in content and "results" not in content:
        return
    found = f"holds an object with the keys {short(sorted(content))}"
    if "predictions" in content and "format" in content:
        found = "holds kept predictions (--predictions); name the results file that --results writes beside a MODEL"
    elif "image" in content and "detections" in content:
        found = "holds JSON lines of refinemask.predict, which know no image ids; name its COCO results"
    elif {"images", "annotations"} <= content.keys():
        found = "holds annotations, without scores"
    raise UserError(f"{path}: {found}; expected {EXPECTED}")


def _head(path: Path, position: int, entry: Any, decoder: "msgspec.json.Decoder[_Head]") -> _Head:
    try:
        return decoder.decode(entry if isinstance(entry, msgspec.Raw) else msgspec.json.encode(entry))
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        found = short(bytes(entry).decode(errors="replace")) if isinstance(entry, msgspec.Raw) else short(entry)
        raise UserError(f"{path}: result {position} is {found}; expected {EXPECTED}") from error


class _Named:
    """The images of a data set by their ids and by their files' names."""

    def __init__(self, images: Iterable[CocoImage]) -> None:
        self._name_of: dict[int, str] = {}
        """Names without folders."""
        # With and without folders and ending; None where several images have a name.
        self._ids: dict[str, int | None] = {}
        for image in images:
            place = Path(image.file_name.replace("\\", "/"))
            self._name_of[image.id] = place.name
            for name in {image.file_name, place.name, place.stem}:
                self._ids[name] = None if name in self._ids else image.id

    def image_of(self, head: _Head) -> int | None:
        """Id of the image that an entry is of; None if there is none. The file's name says more than a number."""
        number = whole_number(head.image_id)
        if isinstance(head.file_name, str):
            named = self._ids.get(head.file_name)
            if named is not None:
                return named
            name = head.file_name.replace("\\", "/").rpartition("/")[2]
            # Where several images have the name, a number can say which.
            if number is None or self._name_of.get(number) != name:
                return self._ids.get(name)
        if number is None and isinstance(head.image_id, str):
            return self._ids.get(head.image_id)
        return number if number in self._name_of else None


def _refuse(path: Path, total: int, dataset: CocoDataset, findings: Findings, *, of_images: bool) -> NoReturn:
    """Raise a UserError of results of which none is of a known image and category."""
    what = f"is of a category of {dataset.path}, which has {listed(dataset.categories)}"
    if not of_images:
        what = f"is of an image of {dataset.path}, such as image {dataset.images[0].id}"
    *_, last = findings
    raise UserError(
        f"{path}: none of its {total} results {what}; the first is {last.first}: name the annotations that the results "
        "were made for"
    )


def _completed(entry: Any, image: CocoImage) -> Result:
    """An entry as JSON values, with a box, and a mask in compressed run lengths, which may have no pixel.

    Raises:
        ValueError: the mask is malformed or of another size.
    """
    result: Result = msgspec.json.decode(entry) if isinstance(entry, msgspec.Raw) else dict(entry)
    # Some tools write one, which pycocotools does not look at.
    result.pop("area", None)
    mask, has_box = result.get("segmentation"), bool(result.get("bbox"))
    plain = isinstance(mask, dict) and isinstance(mask.get("counts"), list)
    if isinstance(mask, list) or plain or not has_box:
        empty = {"size": [image.height, image.width], "counts": [image.height * image.width]}
        read = read_segmentation(mask, image.height, image.width) or empty
        rle = result["segmentation"] = segmentation_rle(read, image.height, image.width)
        if not has_box:
            result |= {"bbox": coco_mask.toBbox(rle).tolist(), "area": float(coco_mask.area(rle))}
    # An id that is none is named by who reads the entry.
    if (category := whole_number(result.get("category_id"))) is not None:
        result["category_id"] = category
    return result
