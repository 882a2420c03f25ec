"""A place for each image below an output folder that no other image has. Imports no PyTorch."""

import itertools
import os
import unicodedata
from collections.abc import Iterator
from pathlib import PurePosixPath

LONGEST_NAME = 255
"""Bytes of a file's name that file systems take."""
ENDING = len(".json")
"""Bytes that are left for an output's own ending."""
NO_NAMES = ("", ".", "..")


class Places:
    """Gives out places, numbered where two would be the same, and cut where a name would be too long.

    Those are the same that differ only in case, or in how Unicode composes a letter: macOS and Windows have one file
    for both, and the second output would replace the first.

    It remembers the place of every image, about 150 bytes each, but none of the images of a numbered folder.

    Args:
        room: bytes of a file's name that are left for what outputs append.
    """

    def __init__(self, room: int = ENDING) -> None:
        self._longest = LONGEST_NAME - room
        # Texts, because paths take four times as much memory.
        self._taken: set[str] = set()
        self._folders: set[str] = set()
        self._numbered: set[str] = set()
        # Of 20,000 files of the same name, each would try all numbers before it.
        self._next: dict[str, int] = {}

    def of_image(self, place: PurePosixPath) -> PurePosixPath:
        """``place``, such as ``street/a``, or the first of ``street/a-2``, ``street/a-3``, … that is free."""
        keys = ((_key(own), own) for own in self._candidates(place))
        key, own = next((key, own) for key, own in keys if key not in self._taken and not self._in_numbered(own))
        self._taken.add(key)
        for parent in map(_key, own.parents):
            if parent in self._folders:
                # And so are those above it.
                break
            self._folders.add(parent)
        return own

    def of_numbered(self, stem: str) -> str:
        """A folder for images that have numbers for names, such as a video's: ``stem``, ``stem-2``, ….

        No other image has the place of the folder itself, or that of a number in it.
        """
        used = self._taken, self._folders
        candidates = self._candidates(PurePosixPath(stem))
        own = next(own for own in candidates if not any(_key(own) in places for places in used))
        self._taken.add(_key(own))
        self._numbered.add(_key(own))
        return str(own)

    def _in_numbered(self, place: PurePosixPath) -> bool:
        return bool(self._numbered) and place.name.isdigit() and _key(place.parent) in self._numbered

    def _candidates(self, place: PurePosixPath) -> Iterator[PurePosixPath]:
        name = place.name if place.name not in NO_NAMES else "image"
        yield place.parent / self._short(name, "")
        key = _key(place)
        for number in itertools.count(self._next.get(key, 2)):
            self._next[key] = number + 1
            yield place.parent / self._short(name, f"-{number}")

    def _short(self, stem: str, ending: str) -> str:
        while len(os.fsencode(stem + ending)) > self._longest:
            stem = stem[:-1]
        return stem + ending


def _key(place: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", str(place)).casefold()
