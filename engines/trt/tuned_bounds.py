"""Few padded sizes for many images: each size needs a context and a recording of its own. Imports no PyTorch."""

import dataclasses
from dataclasses import dataclass

from engines.canvases import Canvases
from refinemask.contract import Bounds


@dataclass(frozen=True, kw_only=True)
class TunedBounds(Bounds):
    """The bounds of an engine file, whose images are padded to the size that it was tuned for, or to that size turned.

    An image that neither holds is padded to its own size. COCO's images alone have about forty of these.
    """

    @classmethod
    def of(cls, bounds: Bounds) -> "TunedBounds":
        """The same bounds."""
        return cls(**{field.name: getattr(bounds, field.name) for field in dataclasses.fields(bounds)})

    @property
    def canvases(self) -> Canvases:
        """The size that the engine was tuned for and, where the engine takes it, the same in the other orientation."""
        size = self.height[1], self.width[1]
        turned = size[::-1]
        taken = self.height[0] <= turned[0] <= self.height[2] and self.width[0] <= turned[1] <= self.width[2]
        return Canvases(batch=self.batch[2], sizes=tuple(dict.fromkeys([size, turned] if taken else [size])))

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """The padded (height, width) for an image of ``height`` × ``width`` pixels; see :meth:`Bounds.canvas`."""
        return self.canvases.holding(height, width) or super().canvas(height, width)
