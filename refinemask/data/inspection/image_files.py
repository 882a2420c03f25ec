"""The image files of a data set, by their headers: which are missing, of another size or kind, or the same twice."""

import hashlib
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import IO, Literal, TypeVar

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from refinemask.config import Window
from refinemask.data.annotated import another_size, locate
from refinemask.data.coco import CocoImage
from refinemask.data.formats.image_files import files_below
from refinemask.data.image_kind import ImageKind, kind_of
from refinemask.data.images import IMAGE_SUFFIXES, read_image
from refinemask.data.inspection.counted import Counted, counted
from refinemask.files import UserError
from refinemask.window import REMEDY

Problem = Literal["missing", "unreadable", "of another size", "unrotated", "without a window"]
"""Why an image cannot be trained on; an unrotated one has the size that its file has without its EXIF orientation, and
one without a window has more than 8 bits."""

THREADS = min(32, 4 * (os.cpu_count() or 1))
"""Number of files that are read at once: most of the time is waiting for the disk."""
_COLOURS = {"1": "black and white", "P": "palette", "PA": "palette", "CMYK": "CMYK"}

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class ImageFile:
    """What the header of an image's file says."""

    image: CocoImage
    problem: Problem | None = None
    """Why the image cannot be trained on."""
    reason: str = ""
    """The problem in one line."""
    path: Path | None = None
    """The file; None if it is missing."""
    bytes: int = 0
    """Size of the file."""
    kind: str = ""
    """Colour and bits of each channel, such as ``grey, 16 bits``."""
    deep: bool = False
    """Whether it has more than 8 bits per channel, or values below zero, and so needs a window."""
    turned: bool = False
    """Whether EXIF says that the picture is shown turned or mirrored."""
    several: bool = False
    """Whether it is an animation, or has several pages."""


@dataclass(frozen=True)
class FileSummary:
    """The image files of a data set, counted; the first of each kind is named."""

    kinds: dict[str, int]
    """Number of files of each kind, such as ``RGB, 8 bits``, most frequent first."""
    missing: Counted
    unreadable: Counted
    of_another_size: Counted
    unrotated: Counted
    """Annotated at the size that the picture has without its EXIF orientation."""
    without_window: Counted
    """More than 8 bits per channel, and no window."""
    deep: Counted
    """More than 8 bits per channel."""
    turned: Counted
    """Turned or mirrored by EXIF, and annotated at the size of the upright picture."""
    alpha: Counted
    palette: Counted
    cmyk: Counted
    several: Counted
    """Animations, and files of several pages."""
    duplicates: Counted
    """Images whose file has the bytes of another image's file that is listed before."""
    unnamed: Counted
    """Image files in the folder that no annotation names."""


def look_at_files(
    images: Sequence[CocoImage],
    directory: str | os.PathLike[str],
    window: Window | None = None,
    decode: bool = False,
) -> list[ImageFile]:
    """Read the header of every image's file.

    Args:
        images: the entries of the annotation file.
        directory: folder of the files.
        window: how images of more than 8 bits become images of 8.
        decode: whether to decode the pixels, too, which finds files that are damaged behind their header.
    """
    # Pillow finds its readers on first use, and not for several threads at once.
    Image.init()

    def look(image: CocoImage) -> ImageFile:
        file = _look_at_file(image, directory, window)
        if not decode or file.problem or file.path is None:
            return file
        try:
            read_image(file.path, window)
        except UserError as error:
            return ImageFile(image, "unreadable", str(error), file.path, file.bytes)
        return file

    with warnings.catch_warnings():
        # Pillow warns of oddities in metadata that are not read here.
        warnings.simplefilter("ignore")
        return in_threads(look, images, "decoding" if decode else "reading headers")


def in_threads(function: Callable[[Item], Answer], items: Sequence[Item], title: str) -> list[Answer]:
    """The answer for each item, in order, computed by several threads under a progress bar."""
    with ThreadPool(THREADS) as pool:
        return list(tqdm(pool.imap(function, items, chunksize=16), title, len(items), disable=None, leave=False))


def same_content(files: Iterable[ImageFile]) -> dict[Path, str]:
    """The SHA-256 of the bytes of each file that may be the same as another; files of a size of their own are not read.

    Returns:
        By path, what two files have in common only if their bytes are the same.
    """
    sizes = {file.path: file.bytes for file in files if file.path is not None}
    frequency = Counter(sizes.values())
    paths = [path for path, size in sizes.items() if frequency[size] > 1]

    def digest(path: Path) -> str:
        try:
            with path.open("rb") as stream:
                found = hashlib.sha256()
                while chunk := stream.read(1 << 20):
                    found.update(chunk)
        except OSError:
            # It is counted as unreadable, and is like no other file.
            return str(path)
        return found.hexdigest()

    return dict(zip(paths, in_threads(digest, paths, "comparing files"), strict=True))


def summarise(
    files: Sequence[ImageFile], contents: dict[Path, str], directory: str | os.PathLike[str], named: set[str]
) -> FileSummary:
    """Count what was found.

    Args:
        files: those of a data set.
        contents: what :func:`same_content` says of them.
        directory: folder of the files.
        named: absolute paths of all files that some annotation names.
    """

    def those(chosen: Callable[[ImageFile], bool]) -> Counted:
        return counted([file.image.file_name for file in files if chosen(file)])

    return FileSummary(
        kinds=dict(Counter(file.kind for file in files if file.kind).most_common()),
        missing=those(lambda file: file.problem == "missing"),
        unreadable=those(lambda file: file.problem == "unreadable"),
        of_another_size=those(lambda file: file.problem == "of another size"),
        unrotated=those(lambda file: file.problem == "unrotated"),
        without_window=those(lambda file: file.problem == "without a window"),
        deep=those(lambda file: file.deep),
        turned=those(lambda file: file.turned and file.problem is None),
        alpha=those(lambda file: "alpha" in file.kind),
        palette=those(lambda file: file.kind.startswith("palette")),
        cmyk=those(lambda file: file.kind.startswith("CMYK")),
        several=those(lambda file: file.several),
        duplicates=_duplicates(files, contents),
        unnamed=_unnamed(directory, named),
    )


def _duplicates(files: Sequence[ImageFile], contents: dict[Path, str]) -> Counted:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        if file.path is not None:
            groups[contents.get(file.path, str(file.path))].append(file.image.file_name)
    copies = [f"{name} (as {first})" for first, *others in groups.values() for name in others]
    return counted(copies)


def _unnamed(directory: str | os.PathLike[str], named: set[str]) -> Counted:
    root = Path(os.path.abspath(directory))
    found = sorted(path for path in files_below(root, IMAGE_SUFFIXES) if str(path) not in named)
    return counted([str(path.relative_to(root)) for path in found])


def _look_at_file(image: CocoImage, directory: str | os.PathLike[str], window: Window | None) -> ImageFile:
    try:
        path = locate(directory, image.file_name)
    except UserError as error:
        return ImageFile(image, "missing", str(error))
    if not path.is_file():
        return ImageFile(image, "missing", f"{path}: no such file")
    try:
        return _described(image, path, window)
    except Exception:  # Pillow's readers raise a dozen kinds.
        return _decoded(image, path, window)


def _decoded(image: CocoImage, path: Path, window: Window | None) -> ImageFile:
    """An image's file whose header Pillow cannot read, as training reads it."""
    try:
        shape = read_image(path, window).shape
    except UserError as error:
        return ImageFile(image, "unreadable", str(error), path)
    problem, reason = _compared(image, path, (shape[0], shape[1]), (shape[0], shape[1]))
    return ImageFile(image, problem, reason, path, path.stat().st_size)


def _described(image: CocoImage, path: Path, window: Window | None) -> ImageFile:
    """An image's file by its header, compared with the annotated size."""
    with path.open("rb") as stream:
        kind = kind_of(stream)
        colour, several = _colour(stream, kind)
    problem, reason = _compared(image, path, (kind.height, kind.width), kind.shape)
    if kind.obstacle:
        problem, reason = "unreadable", f"{path}: {kind.obstacle}"
    elif problem is None and kind.is_deep and window is None:
        problem = "without a window"
        reason = f"{path}: has {kind.numbers} values, expected 8 bits per channel; use {REMEDY}"
    return ImageFile(
        image=image,
        problem=problem,
        reason=reason,
        path=path,
        bytes=path.stat().st_size,
        kind=f"{colour}, {max(8, kind.bits)} bits{' float' if kind.number == 'float' else ''}",
        deep=kind.is_deep,
        turned=kind.orientation > 1,
        several=several,
    )


def _compared(
    image: CocoImage, path: Path, raw: tuple[int, int], upright: tuple[int, int]
) -> tuple[Problem | None, str]:
    """What is wrong with an image of these (height, width), stored and as shown, in one line, too."""
    annotated = image.height, image.width
    if annotated == upright:
        return None, ""
    return "unrotated" if annotated == raw else "of another size", another_size(path, upright, image)


def _colour(stream: IO[bytes], kind: ImageKind) -> tuple[str, bool]:
    """The colours of an image in words, and whether its file is an animation or has several pages."""
    stream.seek(0)
    try:
        with Image.open(stream) as header:
            bands = header.getbands()
            colour = _COLOURS.get(header.mode) or ("grey" if len(bands) < 3 else "RGB")
            has_alpha = bands[-1] in ("A", "a") or "transparency" in header.info
            # Phones put a second, smaller picture into a JPEG, which nobody means.
            several = header.format != "MPO" and bool(getattr(header, "is_animated", False))
    except UnidentifiedImageError:
        # Pillow knows no colours of 16 bits in TIFF.
        return ("grey" if kind.channels < 3 else "RGB"), False
    return (f"{colour} with alpha" if has_alpha else colour), several
