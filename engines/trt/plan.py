"""One description of an engine build, for TensorRT's Python API and for ``trtexec`` alike."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from engines.trt.api import Flavour
from refinemask.contract import Bounds

Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Smallest, typical and largest."""


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What to build of which file."""

    onnx: Path
    plugins: Path | None
    """Library with our operators; None only for a file without them, or to build their bodies."""
    flavour: Flavour
    bounds: Bounds
    """Of the optimisation profile."""
    capabilities: tuple[str, ...] = ()
    """Compute capabilities to build for ahead of time, without a GPU (TensorRT-RTX); empty is this machine's GPU."""
    version_compatible: bool = False
    """The engine also runs in newer TensorRT of the same major version, a little slower."""
    hardware_compatible: bool = False
    """The engine also runs on newer GPUs (from Ampere on), slower."""
    timing_cache: Path | None = None
    """File that remembers kernel timings between builds."""
    workspace_mib: int | None = None
    """Limit of the scratch memory; None is the whole GPU."""

    def to_json(self) -> str:
        """For the process that builds."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "BuildPlan":
        """Read what :meth:`to_json` wrote."""
        content = json.loads(text)
        bounds = Bounds.from_json(json.dumps(content.pop("bounds")))
        for name in ("onnx", "plugins", "timing_cache"):
            content[name] = content[name] and Path(content[name])
        return cls(bounds=bounds, capabilities=tuple(content.pop("capabilities")), **content)

    def shapes(self) -> dict[str, Shapes]:
        """The profile's shapes of each input; of a static file they are all the same."""
        sizes = zip(self.bounds.batch, self.bounds.height, self.bounds.width, strict=True)
        images = tuple((batch, 3, height, width) for batch, height, width in sizes)
        image_sizes = tuple((batch, 2) for batch in self.bounds.batch)
        return {"images": images, "image_sizes": image_sizes}  # type: ignore[dict-item]

    @property
    def static(self) -> bool:
        """Whether the file accepts one shape only, so that no profile is needed."""
        return all(len(set(shapes)) == 1 for shapes in self.shapes().values())
