"""Whether a detector can be evaluated on a data set."""

from refinemask.config import ModelConfig
from refinemask.data.coco import CocoDataset
from refinemask.data.lvis import LvisDataset
from refinemask.files import UserError


def require_classes(dataset: CocoDataset, config: ModelConfig, detector: str) -> None:
    """Raise a UserError unless a detector of ``config`` finds all classes of ``dataset``.

    Args:
        detector: what the error calls it.
    """
    known = dict(zip(config.category_ids, config.class_names, strict=True))
    for category, name in dataset.categories.items():
        # LVIS has other names for COCO's classes, and an official LVIS checkpoint has none.
        agrees = category in known if isinstance(dataset, LvisDataset) else known.get(category) == name
        if not agrees:
            raise UserError(
                f"{detector}: finds {len(known)} classes, of which none is category {category} ({name}) of "
                f"{dataset.path}; evaluate it on the data set it was trained for"
            )
