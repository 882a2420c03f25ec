"""Check an engine in a child process; also one that was built before, or elsewhere, whose sidecar is then completed."""

import shlex
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from engines.trt.check import CheckRequest, require_checkable
from engines.trt.child import check_in_child, describe_in_child
from engines.trt.corners import Corner
from engines.trt.device import cuda_device
from engines.trt.sidecar import Sidecar, read_sidecar, sidecar_path, write_sidecar
from refinemask.bundled import DEMO
from refinemask.contract import Metadata
from refinemask.files import FailedCheckError, UserError, require_not_input, sha256
from refinemask.readable import require_readable


def check_file(sidecar: Sidecar, engine: Path, *, name: Path, onnx: Path, images: Path) -> tuple[Corner, ...]:
    """Check an engine that need not have its name or its sidecar yet.

    Args:
        sidecar: what its sidecar says, or will say.
        engine: the engine file.
        name: the engine's name in errors.
        onnx: the exported file that it was built from.
        images: directory with pictures.

    Raises:
        UserError: the engine cannot be loaded here, or the exported file is another one.
        FailedCheckError: the detections differ; the message names the corner.
    """
    with TemporaryDirectory() as directory:
        link = Path(directory) / name.name
        link.symlink_to(engine.resolve())
        write_sidecar(sidecar, link)
        request = CheckRequest(str(link), str(name), str(onnx), sidecar.onnx_sha256, str(images))
        return check_in_child(request, sidecar.flavour)


def check_built(engine: Path, *, onnx: Path | None, images: Path | None, trust: bool) -> Sidecar:
    """Check an engine and complete, or write, its sidecar; see :func:`engines.check_engine`."""
    require_readable(engine)
    if cuda_device() is None:
        raise UserError(
            f"{engine}: a check runs the engine, and this machine has no GPU (or no driver); check it on a machine "
            "that is to run it, with the exported file beside it"
        )
    before = None if trust and not sidecar_path(engine).is_file() else read_sidecar(engine)
    # A sidecar may say anything; its file lies beside the engine.
    onnx = onnx or engine.with_name(Path(before.onnx).name if before else engine.with_suffix(".onnx").name)
    if not onnx.is_file():
        raise UserError(
            f"{engine}: is compared with the exported file that it was built from, and there is no {onnx}; name that "
            "file with --onnx FILE.onnx"
        )
    require_not_input(sidecar_path(engine), onnx)
    images = images or DEMO
    require_checkable(onnx, images)
    sidecar = before or describe(engine, onnx)
    try:
        corners = check_file(sidecar, engine, name=engine, onnx=onnx, images=images)
    except FailedCheckError as error:
        reason = f"{engine}: {error}; build it again, with another version of TensorRT"
        try:
            if before is not None:
                _write(before, replace(before, corners=(), unchecked=f"it failed a check: {error}"), engine)
        except UserError as unwritten:
            # What the check found is not to be lost.
            raise FailedCheckError(f"{reason} ({unwritten})") from error
        raise FailedCheckError(reason) from error
    completed = replace(sidecar, corners=corners, unchecked=None)
    _write(before, completed, engine)
    return completed


def describe(engine: Path, onnx: Path) -> Sidecar:
    """The sidecar of an engine that ``trtexec`` built by hand, of this machine and of the file that it was built from.

    Raises:
        UserError: the engine cannot be loaded here, or the file is no export of this project.
    """
    metadata, digest = Metadata.of_file(onnx), sha256(engine)
    described = describe_in_child(engine, onnx)
    device, library = cuda_device(), Path(described.plugins) if described.plugins else None
    return Sidecar(
        engine_sha256=digest,
        onnx=onnx.name,
        onnx_sha256=sha256(onnx),
        plugins=library.name if library else None,
        plugins_sha256=sha256(library) if library else None,
        flavour="tensorrt",
        version=described.version,
        cuda=device and device.cuda,
        driver=device and device.driver,
        gpu=device and device.name,
        capabilities=(device.capability,) if device else (),
        metadata=replace(metadata, precision=described.type, bounds=described.bounds).to_properties(),
        tf32=described.type == "tf32",
        precision=described.precision,
        command=shlex.join(["python", "-m", "engines.build", onnx.name, "-o", engine.name]),
    )


def _write(before: Sidecar | None, sidecar: Sidecar, engine: Path) -> None:
    """Write a sidecar, unless the engine got another one during the minutes of its check."""
    now = read_sidecar(engine) if sidecar_path(engine).is_file() else None
    if now != before:
        raise UserError(f"{sidecar_path(engine)}: changed during the check; check the engine again")
    write_sidecar(sidecar, engine)
