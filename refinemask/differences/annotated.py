"""Annotated objects in the form of a detector's results. Imports no PyTorch."""

from collections.abc import Iterator, Mapping

from refinemask.data.coco import CocoDataset
from refinemask.masks import segmentation_rle
from refinemask.structures import Result


class AnnotatedObjects(Mapping[int, list[Result]]):
    """The objects of a data set by image id, crowds left out. Their masks are made when they are asked for."""

    def __init__(self, dataset: CocoDataset) -> None:
        self._images = {image.id: image for image in dataset.images}
        self._annotations = dataset.annotations

    def __getitem__(self, image_id: int) -> list[Result]:
        image = self._images[image_id]
        return [
            {
                "category_id": each.category_id,
                "bbox": list(each.bbox),
                "segmentation": segmentation_rle(each.segmentation, image.height, image.width),
            }
            for each in self._annotations[image_id]
            if not each.iscrowd
        ]

    # A mapping's own would read the results.
    def __contains__(self, image_id: object) -> bool:
        return image_id in self._images

    def __iter__(self) -> Iterator[int]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)
