"""A place for each image below an output folder that no other image has. Imports no PyTorch."""

import itertools
import os
from collections.abc import Iterator
from pathlib import PurePosixPath

LONGEST_NAME = 255
"""Bytes of a file's name that file systems take."""
ENDING = len(".json")
"""Bytes that are left for an output's own ending."""
NO_NAMES = ("", ".", "..")


class Places:
    """Gives out places, numbered where two would be the same, and cut where a name would be too long.

    A video's place is a folder, and no image lies where one of its frames may.

    Args:
        room: bytes of a file's name that are left for what outputs append.
    """

    def __init__(self, room: int = ENDING) -> None:
        self._longest = LONGEST_NAME - room
        self._taken: set[PurePosixPath] = set()
        self._folders: set[PurePosixPath] = set()
        self._videos: set[PurePosixPath] = set()
        # Of 20,000 files of the same name, each would try all numbers before it.
        self._next: dict[PurePosixPath, int] = {}

    def of_image(self, place: PurePosixPath) -> PurePosixPath:
        """``place``, such as ``street/a``, or the first of ``street/a-2``, ``street/a-3``, … that is free."""
        own = next(own for own in self._candidates(place) if own not in self._taken and not self._is_frame(own))
        self._taken.add(own)
        self._folders.update(own.parents)
        return own

    def of_video(self, stem: str) -> str:
        """``stem``, or the first of ``stem-2``, ``stem-3``, … that is neither taken nor a folder of images."""
        used = self._taken, self._folders
        own = next(own for own in self._candidates(PurePosixPath(stem)) if not any(own in places for places in used))
        self._taken.add(own)
        self._videos.add(own)
        return own.name

    def _is_frame(self, place: PurePosixPath) -> bool:
        return place.parent in self._videos and place.name.isdigit()

    def _candidates(self, place: PurePosixPath) -> Iterator[PurePosixPath]:
        name = place.name if place.name not in NO_NAMES else "image"
        for number in itertools.count(self._next.get(place, 1)):
            self._next[place] = number + 1
            yield place.parent / self._short(name, f"-{number}" if number > 1 else "")

    def _short(self, stem: str, ending: str) -> str:
        while len(os.fsencode(stem + ending)) > self._longest:
            stem = stem[:-1]
        return stem + ending
