"""What an image is called in files. Imports no PyTorch."""

import os
from typing import Any

from refinemask.sources.item import Item


def json_text(name: str) -> str:
    """A file's name as JSON and OpenCV take it: bytes that are no UTF-8 become replacement characters."""
    return os.fsencode(name).decode(errors="replace")


def file_name(item: Item) -> str:
    """The name of an image's file, with its folders below the folder that was given; that of a frame is its video's."""
    if item.path is not None:
        return json_text((item.place.parent / item.path.name).as_posix())
    if item.video is not None:
        return json_text(item.video.path.name if item.video.path is not None else item.video.name)
    return json_text(item.name)


def frame_of(item: Item) -> dict[str, Any]:
    """``video``, ``frame`` and ``seconds`` of a frame; nothing of other images."""
    if item.video is None:
        return {}
    return {"video": json_text(item.video.name), "frame": item.index, "seconds": item.seconds}
