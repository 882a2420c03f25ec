"""What came of matching the detections of a data set with its objects, as flat tables."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Detections and objects of ``I`` images and ``C`` categories, by one kind of overlap.

    There are ``D`` detections: those of an image lie together, in the order of the images, and those of a category in
    an image from the best on. ``true`` and ``false`` are sets of the 40 pairs of an area range and an IoU threshold, as
    the bits of ``matching.BITS``. In a pair in which a detection is neither, it is ignored.
    """

    image_ids: tuple[int, ...]
    """Ids of the evaluated images, in the order of the data set; ``image`` and ``object_image`` are indices into it."""
    category_ids: tuple[int, ...]
    """Ids of the categories, in the order of the data set; ``category`` and ``object_category`` are indices into it."""
    image: NDArray[np.int32]
    """[D] the detection's image."""
    category: NDArray[np.int32]
    """[D] the detection's category."""
    score: NDArray[np.float64]
    """[D] the detection's score."""
    rank: NDArray[np.int32]
    """[D] how many detections of the same category in the same image are before it."""
    true: NDArray[np.int64]
    """[D] the pairs in which the detection is matched with an object that counts."""
    false: NDArray[np.int64]
    """[D] the pairs in which the detection is matched with no object."""
    object_image: NDArray[np.int32]
    """[P] an image that has objects of a category; each pair of image and category occurs once."""
    object_category: NDArray[np.int32]
    """[P] the category."""
    objects: NDArray[np.int32]
    """[P, 4] number of objects of the category to find in the image, in each area range."""
