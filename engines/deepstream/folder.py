"""The folder for ``nvinfer``: network, configuration, names of the classes, and the parser of the outputs."""

from pathlib import Path

from engines.deepstream.frames import fitted, with_one_input
from refinemask.config import ModelConfig
from refinemask.contract import Metadata, read_onnx
from refinemask.data.transforms import resize_shape
from refinemask.files import UserError, atomic_write

PARSER = Path(__file__).with_name("parser.cpp")
NETWORK = "network.onnx"
CONFIGURATION = "config_infer_primary.txt"
LIBRARY = "libnvdsinfer_refinemask.so"
THRESHOLD = 0.5
"""Probability from which on a point of a mask is foreground."""


def write_folder(model: Path, output: Path, frame: tuple[int, int], *, batch: int = 1, score: float = 0.5) -> list[str]:
    """Write all that ``nvinfer`` needs but the compiled parser.

    Args:
        model: an exported file in fp32, of ``--masks all``.
        output: the folder; made if missing.
        frame: (height, width) of the frames, as ``nvstreammux`` gives them.
        batch: frames that run together.
        score: lowest score of an object.

    Returns:
        Names of the files.

    Raises:
        UserError: the file is no such export, or takes no such frames or batch; or the folder cannot be written.
    """
    onnx_model = read_onnx(model, weights=True)
    metadata = Metadata.of_model(onnx_model, model)
    canvas = _canvas(model, metadata, frame, batch)
    size = fitted(frame, canvas)
    try:
        network = with_one_input(onnx_model, size, canvas).SerializeToString()
    except UserError as error:
        raise UserError(f"{model}: {error}") from error
    files = {
        NETWORK: network,
        CONFIGURATION: configuration(metadata.config, canvas, batch=batch, score=score).encode(),
        "labels.txt": "".join(f"{name}\n" for name in metadata.config.class_names).encode(),
        PARSER.name: PARSER.read_bytes(),
    }
    for name, data in files.items():
        with atomic_write(output / name) as temporary:
            temporary.write_bytes(data)
    return list(files)


def configuration(config: ModelConfig, canvas: tuple[int, int], *, batch: int, score: float) -> str:
    """The text of ``nvinfer``'s configuration file; paths are beside it.

    Args:
        config: the detector's configuration.
        canvas: padded (height, width) of the network's input.
        batch: frames that run together.
        score: lowest score of an object.
    """
    detections = config.box_head.detections
    # Normalisation is in the network: bytes go in as they are. Objects that end at the frame's edge would be dropped
    # for a rounding without crop-objects-to-roi-boundary, and all but 20 of a class without topk.
    return f"""\
[property]
gpu-id=0
gie-unique-id=1
process-mode=1
onnx-file={NETWORK}
model-engine-file={NETWORK}_b{batch}_gpu0_fp32.engine
labelfile-path=labels.txt
custom-lib-path={LIBRARY}
parse-bbox-instance-mask-func-name=NvDsInferParseRefineMask
network-type=3
network-mode=0
cluster-mode=4
output-instance-mask=1
segmentation-threshold={THRESHOLD}
num-detected-classes={len(config.class_names)}
batch-size={batch}
infer-dims=3;{canvas[0]};{canvas[1]}
model-color-format=0
net-scale-factor=1.0
maintain-aspect-ratio=1
symmetric-padding=0
scaling-filter=1
crop-objects-to-roi-boundary=1

[class-attrs-all]
pre-cluster-threshold={score}
topk={detections}
"""


def _canvas(model: Path, metadata: Metadata, frame: tuple[int, int], batch: int) -> tuple[int, int]:
    """The padded (height, width) of the network's input for the frames."""
    if metadata.precision != "fp32":
        raise UserError(f"{model}: is in {metadata.precision}; nvinfer chooses the precision itself, expected fp32")
    if metadata.masks != "all":
        raise UserError(f"{model}: --masks {metadata.masks}; TensorRT needs a file of export.to_onnx --masks all")
    smallest, _, largest = metadata.bounds.batch
    if not smallest <= batch <= largest:
        raise UserError(f"{model}: takes {smallest} to {largest} images at a time; found --batch {batch}")
    resized = resize_shape(*frame, metadata.config.preprocessing)
    return metadata.bounds.canvas(*resized)
