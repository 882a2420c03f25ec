"""What the header of an image file says, before a picture is decoded. Imports no PyTorch."""

import os
from dataclasses import dataclass, replace
from typing import IO, Any

from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from refinemask.files import UserError
from refinemask.foreign import reason
from refinemask.readable import require_readable

LARGEST_PICTURE = 1 << 30
"""Bytes of the largest decoded picture: as many pixels as Pillow takes, in 16-bit RGB."""
MOST_CHANNELS = 4
"""Most channels of a picture: colours and alpha."""
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Channels by a PNG file's colour type."""
TIFF_STARTS = b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"
SAMPLE_FORMAT = 339
"""TIFF's tag of the type of numbers."""
TIFF_NUMBERS = {1: "uint", 2: "int", 3: "float"}
"""Types of numbers by TIFF's SampleFormat; others are complex or unknown."""
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
"""Some of TIFF's PhotometricInterpretation."""
SEPARATE_PLANES = 2
"""TIFF's PlanarConfiguration of pictures whose channels follow each other."""
EXTRA_SAMPLES, STRAIGHT_ALPHA = 338, 2
"""TIFF's tag of channels beside the colours, and its value for alpha that the colours are not multiplied by."""
SIDEWAYS = range(5, 9)
"""EXIF's numbers of orientations that exchange height and width."""
DEEP_NUMBERS = "uint16", "int16", "uint32", "int32", "float32", "float64"
"""Types of values that are read besides those of 8 bits."""


@dataclass(frozen=True, kw_only=True)
class ImageKind:
    """What a file's header says of its first picture."""

    format: str
    """Name of the format, such as ``PNG``."""
    height: int
    """Height in pixels, as stored: not turned yet."""
    width: int
    """Width in pixels, as stored."""
    orientation: int = 1
    """EXIF's number of how the stored picture is turned, 1 to 8."""
    channels: int
    """Number of channels; one for a palette."""
    bits: int = 8
    """Bits per channel, as stored."""
    number: str = "uint"
    """Type of the values: ``uint``, ``int``, ``float`` or ``other``."""
    frames: int = 1
    """Number of pictures in the file; 1 where counting them would take reading the whole file."""
    white_is_zero: bool = False
    """Whether 0 is white in a picture of one channel (TIFF)."""
    straight_alpha: bool = False
    """Whether OpenCV would multiply the colours by an alpha channel (8-bit RGB in TIFF)."""
    obstacle: str = ""
    """Why the picture is not read; empty if nothing in its header is in the way."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels of the upright picture, as :func:`refinemask.data.images.read_image` gives it."""
        return (self.width, self.height) if self.orientation in SIDEWAYS else (self.height, self.width)

    @property
    def is_deep(self) -> bool:
        """Whether a picture needs a window: it has more than 8 bits per channel, or values below zero."""
        return self.bits > 8 or self.number != "uint"

    @property
    def numbers(self) -> str:
        """Type of the values as NumPy names it, such as ``uint16``."""
        return f"{self.number}{self.bits}"


def read_kind(path: str | os.PathLike[str]) -> ImageKind:
    """What the header of an image file says; nothing is decoded, so a file that is damaged behind it has a kind, too.

    Raises:
        UserError: the file cannot be read, is of no known kind, or is too large to decode safely.
    """
    require_readable(path)
    try:
        with open(path, "rb") as file:
            return kind_of(file)
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: cannot be read: not an image of a known format, or cut short") from error
    except Exception as error:  # Pillow's readers raise a dozen kinds.
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error


def kind_of(file: IO[bytes]) -> ImageKind:
    """What the header of an open image file says.

    Raises:
        Exception: the file is of no known kind, damaged, or too large to decode safely; Pillow raises a dozen kinds.
    """
    start = _start(file)
    if start[:4] in TIFF_STARTS:
        return _tiff_kind(file, start)
    with Image.open(file) as picture:
        kind = ImageKind(
            format=picture.format or "",
            height=picture.height,
            width=picture.width,
            channels=len(picture.getbands()),
            orientation=_orientation(picture),
            frames=getattr(picture, "n_frames", 1) if picture.format in ("PNG", "WEBP") else 1,
        )
        if kind.format == "PNG":
            kind = replace(kind, bits=start[24], channels=PNG_CHANNELS[start[25]])
        elif picture.mode.startswith(("I", "F")):
            is_float, is_short = picture.mode == "F", picture.mode != "I" or kind.format == "PPM"
            kind = replace(kind, bits=16 if is_short and not is_float else 32, number="float" if is_float else "uint")
        return kind


def _start(file: IO[bytes]) -> bytes:
    file.seek(0)
    start = file.read(26)
    file.seek(0)
    return start


def _orientation(picture: Image.Image) -> int:
    # Pillow decodes a whole PNG in search of what its header lacks.
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    return _valid_orientation(picture.getexif().get(ExifTags.Base.Orientation, 1))


def _valid_orientation(number: Any) -> int:
    return number if number in range(1, 9) else 1


def _tiff_kind(file: IO[bytes], start: bytes) -> ImageKind:
    """By the tags of the first picture, because Pillow opens none of 16-bit channels, of float RGB or of float64."""
    tags = ImageFileDirectory_v2(start[:16] if b"+" in start[2:4] else start[:8])
    file.seek(tags.next)
    tags.load(file)
    bits = tags.get(ExifTags.Base.BitsPerSample, (1,))
    interpretation = _first(tags, ExifTags.Base.PhotometricInterpretation, BLACK_IS_ZERO)
    kind = ImageKind(
        format="TIFF",
        height=_first(tags, ExifTags.Base.ImageLength, 0),
        width=_first(tags, ExifTags.Base.ImageWidth, 0),
        channels=_first(tags, ExifTags.Base.SamplesPerPixel, 1),
        orientation=_valid_orientation(_first(tags, ExifTags.Base.Orientation, 1)),
        bits=max(bits),
        number=TIFF_NUMBERS.get(_first(tags, SAMPLE_FORMAT, 1), "other"),
        white_is_zero=interpretation == WHITE_IS_ZERO,
        straight_alpha=interpretation == RGB and max(bits) == 8 and _first(tags, EXTRA_SAMPLES, 0) == STRAIGHT_ALPHA,
    )
    if kind.height < 1 or kind.width < 1:
        raise ValueError(f"its tags say that it is {kind.height} pixels high and {kind.width} wide")
    if kind.is_deep:
        _require_strips(tags, kind.height)
    planes = _first(tags, ExifTags.Base.PlanarConfiguration, 1) == SEPARATE_PLANES
    return replace(kind, obstacle=_obstacle(kind, interpretation, planes, len(set(bits)) > 1))


def _require_strips(tags: ImageFileDirectory_v2, height: int) -> None:
    """Raise a ValueError if rows are missing, whose values OpenCV makes up."""
    rows = _first(tags, ExifTags.Base.RowsPerStrip, height)
    strips = len(tags.get(ExifTags.Base.StripOffsets, ()))
    if ExifTags.Base.TileOffsets not in tags and strips * rows < height:
        raise ValueError(f"its tags name {strips} strips of {rows} rows, expected {height} rows")


def _first(tags: ImageFileDirectory_v2, tag: int, default: int) -> int:
    value = tags.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)


def _obstacle(kind: ImageKind, interpretation: int, planes: bool, mixed: bool) -> str:
    if kind.channels > MOST_CHANNELS:
        return f"has {kind.channels} channels, expected 1, 3 (RGB) or 4 (RGB and alpha); save three of them as RGB"
    if not kind.is_deep:
        return ""
    if mixed or kind.numbers not in DEEP_NUMBERS:
        found = "channels of different depths" if mixed else f"{kind.numbers} values"
        return f"has {found}, expected uint8, {', '.join(DEEP_NUMBERS)}; save it as one of them"
    if planes:
        return f"has {kind.numbers} values of {kind.channels} channels in separate planes; save it pixel by pixel"
    is_grey = kind.channels == 1 and interpretation in (WHITE_IS_ZERO, BLACK_IS_ZERO)
    if not is_grey and not (kind.channels >= 3 and interpretation == RGB):
        what = f"{kind.channels} channels of {kind.numbers} that are neither grey nor RGB"
        return f"has {what}; save one channel, or three as RGB"
    return ""
