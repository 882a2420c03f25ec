"""The description of an engine build, for TensorRT's Python API and for ``trtexec`` alike.

The ONNX file is read here and nowhere else: a build by the plan leaves the parsing to TensorRT.
"""

import dataclasses
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from engines.file_precision import require_file_precision
from engines.trt.api import Flavour
from engines.trt.precision import REQUIRED_SHARE, Shares, file_shares
from refinemask.contract import DOMAIN, INPUTS, Bounds, Metadata, read_onnx
from refinemask.files import UserError, sha256
from refinemask.json_files import parse_json
from refinemask.spelling import OptionalPath, OptionalShape
from trt_plugins import LIBRARY_DIR, PLUGIN_LIBRARY

TilingLevel = Literal["none", "fast", "moderate", "full"]
TILING_LEVELS: tuple[TilingLevel, ...] = get_args(TilingLevel)
"""How much TensorRT searches for ways to keep parts of maps in the GPU's cache, least first."""
Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Smallest, typical and largest shape of an input."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """The choices of a build; left alone, the file and the machine decide."""

    precision: str | None = None
    """fp32, fp16, bf16, int8 or fp8 to insist on; the file decides, and the build is checked either way.

    tf32 lets an fp32 file compute in TensorFloat-32, which is off otherwise.
    """
    flavour: Flavour | None = None
    """tensorrt or tensorrt_rtx; by default the one installed, TensorRT first, and with trtexec tensorrt."""
    plugins: OptionalPath = None
    """The plugin library; by default the one that python -m trt_plugins.build makes."""
    bodies: bool = False
    """Build the operators' bodies of standard operators, without plugins."""
    opt_shape: OptionalShape = None
    """Batch, height and width to tune for; by default the typical ones of the file."""
    max_shape: OptionalShape = None
    """Largest batch, height and width, where the file takes more than is needed."""
    capabilities: tuple[str, ...] = ()
    """Compute capabilities, such as 8.9, to build for without a GPU (TensorRT-RTX)."""
    version_compatible: bool = False
    """Whether the engine runs in newer TensorRT of the same major version too, a little slower."""
    hardware_compatible: bool = False
    """Run on newer GPUs too, from Ampere on, slower."""
    timing_cache: OptionalPath = None
    """File that makes the next build faster."""
    workspace_mib: Annotated[int | None, tyro.conf.arg(name="workspace")] = None
    """Limit of the scratch memory in MiB; by default the whole GPU."""
    optimization_level: int | None = None
    """How long TensorRT searches for fast kernels, from 0 to 5; by default TensorRT's own, 3."""
    tiling_level: TilingLevel | None = None
    """How much it searches for ways to keep parts of maps in the GPU's cache (TensorRT 10.8 or newer)."""
    auxiliary_streams: int | None = None
    """Most streams beside the main one, 0 for none; by default TensorRT decides."""
    trtexec: str | None = None
    """The trtexec to build with, instead of the Python package."""

    def command_line(self) -> list[str]:
        """The same choices as options of ``python -m engines.build``."""
        words = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            words.append(f"--{field.name.removesuffix('_mib').replace('_', '-')}")
            if field.name.endswith("_shape"):
                words.append("x".join(map(str, value)))
            elif value is not True:
                words += map(str, value if isinstance(value, tuple) else (value,))
        return words


@dataclass(frozen=True)
class CustomNode:
    """A node of our domain, which is to become a plugin layer of the same name."""

    name: str
    """Name of the node."""
    operator: str
    """Name of the custom operator."""


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What to build from which file."""

    onnx: Path
    """The exported file."""
    onnx_sha256: str
    """SHA-256 of the file that ``metadata``, ``custom_nodes`` and ``types`` were read from."""
    metadata: Metadata
    """The file's own account of itself."""
    custom_nodes: tuple[CustomNode, ...]
    """All nodes of our domain."""
    types: Shares
    """Shares of the types in the file."""
    options: BuildOptions
    """The choices as they were made; ``flavour``, ``plugins`` and ``bounds`` decide what they left open."""
    flavour: Flavour
    """The kind of TensorRT that builds."""
    plugins: Path | None
    """Library with our operators; None if the file has none of them, or if their bodies are built."""
    bounds: Bounds
    """Limits of the optimisation profile."""

    def command(self, output: Path) -> list[str]:
        """The command line that builds the engine again, in the directory of its files."""
        return ["python", "-m", "engines.build", self.onnx.name, "-o", output.name, *self.options.command_line()]

    def to_json(self) -> str:
        """The plan as text, for the process that builds."""
        metadata = {"metadata": self.metadata.to_properties()}
        return json.dumps(dataclasses.asdict(self) | metadata, default=str)

    @classmethod
    def from_json(cls, text: str) -> "BuildPlan":
        """Read what :meth:`to_json` wrote."""
        content = parse_json(text)
        onnx = Path(content.pop("onnx"))
        return cls(
            onnx=onnx,
            metadata=Metadata.from_properties(content.pop("metadata"), onnx),
            custom_nodes=tuple(CustomNode(**node) for node in content.pop("custom_nodes")),
            options=_options_from_json(content.pop("options")),
            plugins=_path(content.pop("plugins")),
            bounds=Bounds.from_json(json.dumps(content.pop("bounds"))),
            **content,
        )

    def shapes(self) -> dict[str, Shapes]:
        """The profile's shapes of each input; for a static file they are all the same."""
        sizes = zip(self.bounds.batch, self.bounds.height, self.bounds.width, strict=True)
        images = tuple((batch, 3, height, width) for batch, height, width in sizes)
        image_sizes = tuple((batch, 2) for batch in self.bounds.batch)
        return dict(zip(INPUTS, (images, image_sizes), strict=True))  # type: ignore[arg-type]

    @property
    def precision(self) -> str:
        """Precision of the engine: the file's, or ``tf32``."""
        return self.options.precision or self.metadata.precision

    @property
    def tf32(self) -> bool:
        """Whether products of float32 may be computed in TensorFloat-32."""
        return self.precision == "tf32"

    @property
    def static(self) -> bool:
        """Whether the file accepts one shape only, so that no profile is needed."""
        return all(len(set(shapes)) == 1 for shapes in self.shapes().values())


@dataclass(frozen=True)
class Built:
    """What came of a build, beside the engine."""

    version: str
    """TensorRT's version, such as ``10.13.0``."""
    precision: Shares
    """Shares of the types in the network that was built, or in its file where ``trtexec`` parsed it."""
    inspected: Shares | None
    """Shares of the types in the inspector's records; None for a build ahead of time."""
    layers: list[Any]
    """The inspector's records of the engine's layers; empty for a build ahead of time, which cannot be loaded here."""


def make_plan(onnx: Path, options: BuildOptions) -> BuildPlan:
    """Read an exported file and decide what the options leave open.

    The build itself finds out whether the machine has TensorRT, a GPU and the plugin library: a plan may also be made
    for another machine.

    Raises:
        UserError: the file is missing or no export of this project, or the options contradict each other or the file.
    """
    model = read_onnx(onnx)
    metadata = Metadata.of_model(model, onnx)
    _require_buildable(onnx, metadata, options)
    nodes = tuple(CustomNode(node.name, node.op_type) for node in model.graph.node if node.domain == DOMAIN)
    default = LIBRARY_DIR / PLUGIN_LIBRARY if nodes and not options.bodies else None
    return BuildPlan(
        onnx=onnx,
        onnx_sha256=sha256(onnx),
        metadata=metadata,
        custom_nodes=nodes,
        types=file_shares(model),
        options=options,
        flavour=_flavour(onnx, options),
        plugins=options.plugins or default,
        bounds=_bounds(onnx, metadata.bounds, options),
    )


def _require_buildable(onnx: Path, metadata: Metadata, options: BuildOptions) -> None:
    require_file_precision(onnx, metadata.precision, options.precision, "TensorRT keeps the types of the file")
    if metadata.masks != "all":
        raise UserError(
            f"{onnx}: was exported with --masks {metadata.masks}, so shapes depend on the image: an engine would "
            "be tuned for one detection and could not run in a CUDA graph; export with --masks all"
        )
    if metadata.precision not in REQUIRED_SHARE:
        raise UserError(f"{onnx}: precision {metadata.precision}; expected {', '.join(REQUIRED_SHARE)}")
    if options.bodies and options.plugins is not None:
        raise UserError(f"{onnx}: --bodies builds without plugins; leave out --bodies or --plugins {options.plugins}")
    if options.optimization_level not in (None, *range(6)):
        raise UserError(f"{onnx}: --optimization-level {options.optimization_level}: expected 0 to 5")
    if options.tiling_level not in (None, *TILING_LEVELS):
        raise UserError(f"{onnx}: --tiling-level {options.tiling_level}: expected {', '.join(TILING_LEVELS)}")
    if options.auxiliary_streams is not None and options.auxiliary_streams < 0:
        raise UserError(f"{onnx}: --auxiliary-streams {options.auxiliary_streams}: expected 0 or more")


def _flavour(onnx: Path, options: BuildOptions) -> Flavour:
    if options.trtexec is not None:
        if options.capabilities or options.flavour == "tensorrt_rtx":
            option = "--capabilities" if options.capabilities else "--flavour tensorrt_rtx"
            raise UserError(
                f"{onnx}: {option} is for TensorRT-RTX, and trtexec builds plain TensorRT for the GPU it runs on; "
                "leave it out, or build without --trtexec and --print-trtexec"
            )
        return "tensorrt"
    installed: Flavour = "tensorrt_rtx" if find_spec("tensorrt_rtx") and not find_spec("tensorrt") else "tensorrt"
    return options.flavour or installed


def _bounds(onnx: Path, bounds: Bounds, options: BuildOptions) -> Bounds:
    axes = ("batch", "height", "width")
    limits = {axis: list(getattr(bounds, axis)) for axis in axes}
    for index, shape in ((2, options.max_shape), (1, options.opt_shape)):
        for axis, size in zip(axes, shape or (), strict=bool(shape)):
            smallest, _, largest = getattr(bounds, axis)
            if not smallest <= size <= largest:
                raise UserError(f"{axis} {size} is outside what {onnx} accepts, {smallest} to {largest}")
            limits[axis][index] = size
    narrowed = {axis: (low, min(typical, high), high) for axis, (low, typical, high) in limits.items()}
    return dataclasses.replace(bounds, **narrowed)


def _options_from_json(content: dict[str, Any]) -> BuildOptions:
    for name in ("plugins", "timing_cache"):
        content[name] = _path(content[name])
    tuples = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
    return BuildOptions(**{**content, **tuples})


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
