"""RefineMask's head alone in ONNX Runtime and OpenVINO."""

from collections.abc import Callable

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
import onnxruntime
from torch import Tensor, nn

from benchmarks.savings.rearrangements import Scene
from engines.openvino.core import run_request
from engines.openvino.network import compile_network
from export.model import add_bodies, tidy, trace
from export.precision import OPSETS
from refinemask.modeling.refine_mask_head import RefineMaskHead
from refinemask.onnx_session import session_options

INPUTS = ("p2", "p3", "p4", "p5", "rois", "labels")
Run = Callable[[], np.ndarray]


class _Predict(nn.Module):
    def __init__(self, head: RefineMaskHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, p2: Tensor, p3: Tensor, p4: Tensor, p5: Tensor, rois: Tensor, labels: Tensor) -> Tensor:
        return self.head.predict([p2, p3, p4, p5], rois, labels)


def export_head(head: RefineMaskHead, scene: Scene) -> onnx.ModelProto:
    """The head for inputs of the scene's shapes, its operators inlined."""
    model = trace(
        _Predict(head).requires_grad_(False).eval(),
        (*scene.pyramid, scene.rois, scene.labels),
        opset=OPSETS["fp32"],
        inputs=INPUTS,
        outputs=["masks"],
    )
    tidy(model, "head")
    add_bodies(model)
    return onnx.inliner.inline_local_functions(ir.to_proto(model))


def runners(head: RefineMaskHead, scene: Scene, threads: int) -> dict[str, Run]:
    """What computes the scene's masks [R, 112, 112] in each runtime."""
    model, feed = export_head(head, scene), _feed(scene)
    options = session_options(threads)
    # Threads that wait actively would take time from whatever runs next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    request = compile_network(model, "the mask head", "f32", threads).create_infer_request()

    def openvino() -> np.ndarray:
        run_request(request, feed)
        return request.get_tensor("masks").data

    return {"ONNX Runtime": lambda: session.run(None, feed)[0], "OpenVINO": openvino}


def _feed(scene: Scene) -> dict[str, np.ndarray]:
    return dict(zip(INPUTS, (x.numpy() for x in (*scene.pyramid, scene.rois, scene.labels)), strict=True))
