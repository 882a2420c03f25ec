"""What a command line gives, as one source: files, folders, patterns, a list, videos, cameras, streams, standard input.

Imports no PyTorch.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from refinemask.data.images import images_of
from refinemask.files import UserError
from refinemask.options import require_at_least
from refinemask.sources.addresses import camera_index, is_address, shown, split_address, stem_of
from refinemask.sources.captures import Capture, open_camera, open_stream
from refinemask.sources.files import Files
from refinemask.sources.images import ImageFile
from refinemask.sources.listed import ListedPaths
from refinemask.sources.live import PATIENCE, LiveVideo
from refinemask.sources.patterns import SIGNS, matches
from refinemask.sources.places import Places
from refinemask.sources.source import Chain, Source
from refinemask.sources.standard_input import StandardInputImage
from refinemask.sources.video_file import VIDEO_SUFFIXES, VideoFile

STANDARD_INPUT = "-"


def source_of(
    words: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    listed: str | os.PathLike[str] | None = None,
    recursive: bool = False,
    every: int = 1,
    max_frames: int | None = None,
) -> Source:
    """The images of what a command line gives, in its order.

    A word is, whatever fits first:

    - ``-``: one image on standard input;
    - a folder: its image files by name (:func:`refinemask.data.images.images_of`), but no videos;
    - a file: a video by its ending (:data:`refinemask.sources.video_file.VIDEO_SUFFIXES`), or else an image;
    - an address: a stream, see :data:`refinemask.sources.addresses.SCHEMES`;
    - ``0`` or ``camera:0``: a camera of this machine by its number;
    - a pattern, which has ``*``, ``?`` or ``[``: the files that :func:`refinemask.sources.patterns.matches` finds;
    - a file that does not exist, and so an item whose ``read`` fails.

    Outputs of folders with ``recursive``, and of patterns, lie in folders as the images do; all others lie side by
    side. No two have the same place.

    Args:
        words: one word, or several.
        listed: a text file with one path of an image or video a line, or ``-`` for standard input; it comes last.
        recursive: whether folders below the given ones are searched as well.
        every: 1 takes every frame of a video, 5 every fifth.
        max_frames: number of frames that are taken of each video at most.

    Raises:
        UserError: a folder has no image or cannot be read, a pattern matches nothing, an address is none of a stream,
            standard input is closed or to be two things, a number is below 1, or nothing was given.
    """
    require_at_least(1, every=every, max_frames=max_frames)
    # The letters of a text would be words, too.
    words = [words] if isinstance(words, str | os.PathLike) else words
    given = [os.fspath(word) for word in words]
    if given.count(STANDARD_INPUT) + (listed == STANDARD_INPUT) > 1:
        raise UserError("standard input can be read once; expected one - for an image or a list")
    if STANDARD_INPUT in (*given, listed) and sys.stdin is None:
        # Its number may be that of any file by now.
        raise UserError("standard input is closed; expected an image or a list there")
    resolver = _Resolver(recursive=recursive, every=every, max_frames=max_frames)
    parts = [part for word in given for part in resolver.sources(word)]
    if listed is not None:
        path = None if listed == STANDARD_INPUT else Path(listed)
        if path is not None and not path.exists():
            raise UserError(f"{path}: no such file; expected a text with one path a line")
        parts.append(ListedPaths(path, resolver.of_file))
    if not parts:
        raise UserError("no image was given; expected files, folders, a list, a camera or a stream")
    return Chain(parts)


@dataclass(frozen=True, kw_only=True)
class _Resolver:
    """Makes sources of words, and gives each output its place."""

    recursive: bool
    every: int
    max_frames: int | None
    places: Places = field(default_factory=Places)

    def sources(self, word: str) -> Iterator[Source]:
        """The sources that one word means."""
        if word == STANDARD_INPUT:
            yield StandardInputImage(self.places.of_image(PurePosixPath("stdin")))
        elif os.path.isdir(word):
            yield self._folder(Path(word))
        elif os.path.lexists(word):
            yield self.of_file(Path(word))
        elif is_address(word):
            yield self._stream(word)
        elif (index := camera_index(word)) is not None:
            yield self._camera(index)
        elif any(sign in word for sign in SIGNS):
            folder, found = matches(word)
            for path in found:
                yield self.of_file(path, path.relative_to(folder))
        else:
            yield self.of_file(Path(word))

    def of_file(self, path: Path, below: Path | None = None) -> Source:
        """An image or a video; ``below`` is its path from where on outputs have folders."""
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            return Files([self._image(path, below or Path(path.name))])
        stem = self.places.of_numbered(path.stem)
        return VideoFile(path, stem, every=self.every, max_frames=self.max_frames)

    def _folder(self, folder: Path) -> Source:
        try:
            paths = images_of(folder, recursive=self.recursive)
        except UserError as error:
            suffixes = sorted(path.suffix for path in folder.glob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
            if not suffixes:
                raise
            raise UserError(f"{error}; for its videos give '{folder / '*'}{suffixes[0]}'") from error
        return Files([self._image(path, path.relative_to(folder)) for path in paths])

    def _image(self, path: Path, below: Path) -> ImageFile:
        return ImageFile(path, self.places.of_image(PurePosixPath(below.parent, below.stem)))

    def _camera(self, index: int) -> LiveVideo:
        remedy = "is it connected, may this user read it, and does no other program use it?"
        return self._live(f"camera {index}", f"camera{index}", partial(open_camera, index), remedy)

    def _stream(self, url: str) -> LiveVideo:
        parts = split_address(url)
        remedy = "are address, user and password right, and does a player show it?"
        return self._live(shown(parts), stem_of(parts), partial(open_stream, url, PATIENCE.wait), remedy)

    def _live(self, name: str, stem: str, connect: Callable[[], Capture], remedy: str) -> LiveVideo:
        own = self.places.of_numbered(stem)
        return LiveVideo(name, own, connect, remedy=remedy, every=self.every, max_frames=self.max_frames)
