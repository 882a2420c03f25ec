"""The folder for DeepStream: its network finds what the exported file does, and its configuration fits the network."""

from configparser import ConfigParser
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import engines
from engines.deepstream import __main__ as command
from engines.deepstream.folder import CONFIGURATION, NETWORK, THRESHOLD, write_folder
from engines.deepstream.frames import fitted
from refinemask.contract import Metadata
from refinemask.files import UserError
from tests.engines.deepstream.conftest import Parse

FRAME = (90, 161)


@pytest.mark.parametrize(
    ("frame", "canvas", "size"),
    [
        ((1080, 1920), (768, 1344), (756, 1344)),
        ((1081, 1921), (768, 1344), (756, 1344)),
        ((1920, 1080), (1344, 768), (1344, 756)),
        ((720, 1280), (800, 1344), (756, 1344)),
        ((1000, 1000), (800, 1344), (800, 800)),
        ((2, 2), (32, 64), (32, 32)),
    ],
)
def test_a_frame_fills_the_network_in_one_direction(
    frame: tuple[int, int], canvas: tuple[int, int], size: tuple[int, int]
) -> None:
    assert fitted(frame, canvas) == size


@pytest.mark.parametrize("frame", [(1, 100), (100, 0), (2, 10000)])
def test_a_frame_of_nothing_is_refused(frame: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="--frame"):
        fitted(frame, (32, 64))


@pytest.fixture(scope="module")
def folder(tiny_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("deepstream")
    write_folder(tiny_files[1], output, FRAME, batch=2, score=0.05)
    return output


def test_the_network_finds_in_floats_what_the_file_finds_in_bytes(
    folder: Path, tiny_files: tuple[Path, Path], parse: Parse
) -> None:
    onnx.checker.check_model(str(folder / NETWORK), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / NETWORK, options, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    height, width = given.shape[2:]
    assert (given.name, given.type) == ("images", "tensor(float)")
    size = fitted(FRAME, (height, width))
    images = np.zeros((2, 3, height, width), np.uint8)
    images[:, :, : size[0], : size[1]] = np.random.default_rng(0).integers(0, 256, (2, 3, *size))
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"images": images.astype(np.float32)}), strict=True))

    expected = engines.load(tiny_files[1], threads=1).infer(images, np.array([size] * 2))
    for name in ("boxes", "scores", "labels", "masks"):
        assert np.array_equal(found[name], getattr(expected, name)), name

    config = Metadata.of_file(tiny_files[1]).config
    for index, count in enumerate(expected.num_detections):
        frame = {name: array[index] for name, array in found.items()}
        parsed = parse(frame, classes=len(config.class_names), threshold=float(config.box_head.score_threshold))
        assert parsed is not None
        boxes = expected.boxes[index, :count]
        assert count > 0
        assert np.array_equal(parsed[0][:, 2:4], boxes[:, :2])
        assert np.array_equal(parsed[0][:, 4:6], boxes[:, 2:] - boxes[:, :2])
        assert np.array_equal(np.stack(parsed[1]), expected.masks[index, :count].reshape(count, -1))


def test_the_configuration_fits_the_network(folder: Path, tiny_files: tuple[Path, Path]) -> None:
    assert {path.name for path in folder.iterdir()} == {NETWORK, CONFIGURATION, "labels.txt", "parser.cpp"}
    config = Metadata.of_file(tiny_files[1]).config
    sections = ConfigParser()
    sections.read(folder / CONFIGURATION)
    values = sections["property"]
    [given] = onnx.load(folder / NETWORK).graph.input
    sides = [dimension.dim_value for dimension in given.type.tensor_type.shape.dim[1:]]
    assert values["infer-dims"] == ";".join(map(str, sides))
    assert (values["batch-size"], values["segmentation-threshold"]) == ("2", str(THRESHOLD))
    assert int(values["num-detected-classes"]) == len(config.class_names)
    assert (folder / "labels.txt").read_text().splitlines() == list(config.class_names)
    assert sections["class-attrs-all"]["topk"] == str(config.box_head.detections)
    assert f'extern "C" bool {values["parse-bbox-instance-mask-func-name"]}(' in (folder / "parser.cpp").read_text()


def test_the_command_says_how_the_parser_is_compiled(
    tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = command.Args(model=tiny_files[1], output=tmp_path, frame=FRAME)
    assert command.main(args) == 0
    assert "parser.cpp -o libnvdsinfer_refinemask.so" in capsys.readouterr().out
    assert command.main(command.Args(model=tiny_files[1], output=tmp_path, frame=FRAME, score_threshold=0)) == 2
    assert "--score-threshold 0" in capsys.readouterr().err
    assert command.main(command.Args(model=tiny_files[1], output=tmp_path, frame=FRAME, batch=99)) == 2
    assert "--batch 99" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "text", "reason"), [("masks", "found", "--masks all"), ("precision", "fp16", "fp32")])
def test_files_for_other_runtimes_are_refused(
    tiny_files: tuple[Path, Path], tmp_path: Path, name: str, text: str, reason: str
) -> None:
    model = onnx.load(tiny_files[1])
    [entry] = [entry for entry in model.metadata_props if entry.key == name]
    entry.value = text
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match=reason):
        write_folder(tmp_path / "other.onnx", tmp_path / "out", FRAME)
    assert not (tmp_path / "out").exists()
