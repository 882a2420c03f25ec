"""The four models of the paper's efficiency table, and what was published of them."""

from dataclasses import dataclass

from refinemask.config import FCNMaskConfig, HTCConfig, MaskHeadConfig, PointRendConfig, RefineMaskConfig

PUBLISHED_AT = "the official table, GPU not named"


@dataclass(frozen=True)
class Published:
    """A row of the table "Efficiency of RefineMask" of the official repository's README."""

    fps: float
    ap: float
    """Mask AP in points of a hundred."""
    ap_star: float
    """Mask AP on LVIS annotations."""


@dataclass(frozen=True)
class Model:
    """One of the four models, with ResNet-50."""

    key: str
    """Name in file names."""
    mask_head: MaskHeadConfig
    published: Published

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        # Families are made of PyTorch's modules, and a page of what was measured needs none.
        from refinemask.modeling.families import family_of

        return family_of(self.mask_head).name


MODELS = (
    Model("mask-rcnn", FCNMaskConfig(), Published(15.7, 34.7, 36.8)),
    Model("pointrend", PointRendConfig(), Published(11.4, 35.6, 38.7)),
    Model("htc", HTCConfig(), Published(4.4, 37.4, 40.7)),
    Model("refinemask", RefineMaskConfig(), Published(11.4, 37.3, 40.9)),
)
"""The four models; Mask R-CNN, to which the others are compared, is the first."""
