"""The first convolution on blocks of 2×2 pixels, whose values become channels.

Convolutions on GPUs take channels in whole vectors, and a picture has three: cuDNN first copies it with a fourth, and
then computes in one of its slower kernels. A block of 2×2 pixels has twelve values, sixteen with zeros. The convolution
of 7×7 pixels and stride 2 becomes one of 4×4 blocks and stride 1: the same products, and some of zero.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from engines.compiled.padded_stages import VECTOR
from engines.compiled.weights import add_constant, value_of

STRIDE, SIZE, PADDING = 2, 7, 3
"""Of the convolution in pixels; its stride is the side of a block."""
_aten = torch.ops.aten


def block_stem(module: fx.GraphModule) -> int:
    """Let the convolutions of pictures read blocks of pixels, in place.

    Args:
        module: an exported program's module.

    Returns:
        The number of convolutions that were changed.
    """
    stems = [node for node in module.graph.nodes if _is_stem(node)]
    for index, conv in enumerate(stems):
        x, weight, bias = conv.args[:3]
        with module.graph.inserting_before(conv):
            constant = add_constant(module, f"stem_{index}", block_weight(value_of(module, weight)))
            conv.args = (_blocks(module.graph, x), constant, bias)
    module.graph.eliminate_dead_code()
    module.recompile()
    return len(stems)


def block_weight(weight: Tensor) -> Tensor:
    """The weight [D, 16, 4, 4] on blocks that does what a weight [D, 3, 7, 7] does on pixels; channels last."""
    blocks = _as_channels(F.pad(weight, (1, 0, 1, 0)))
    return F.pad(blocks, (0, 0, 0, 0, 0, _zeros(weight.shape[1]))).contiguous(memory_format=torch.channels_last)


def _as_channels(x: Tensor) -> Tensor:
    """[N, C, H, W] as [N, 4C, H/2, W/2], the four values of a block one behind the other."""
    blocks = x.unflatten(3, (-1, STRIDE)).unflatten(2, (-1, STRIDE))
    return blocks.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)


def _blocks(graph: fx.Graph, x: fx.Node) -> fx.Node:
    """Nodes that do the same with a picture, with the convolution's padding around it and channels of zeros."""
    batch, channels, height, width = x.meta["val"].shape
    around = [PADDING + 1, PADDING - 1] * 2
    rows, columns = ((side + sum(around[:2])) // STRIDE for side in (height, width))
    padded = graph.call_function(_aten.constant_pad_nd.default, (x, around))
    shape = [batch, channels, rows, STRIDE, columns, STRIDE]
    blocks = graph.call_function(_aten.reshape.default, (padded, shape))
    last = graph.call_function(_aten.permute.default, (blocks, [0, 3, 5, 1, 2, 4]))
    flat = graph.call_function(_aten.reshape.default, (last, [batch, channels * STRIDE**2, rows, columns]))
    return graph.call_function(_aten.constant_pad_nd.default, (flat, [0, 0, 0, 0, 0, _zeros(channels)]))


def _zeros(channels: int) -> int:
    """Channels of zeros that make those of a block whole vectors."""
    return -channels * STRIDE**2 % VECTOR


def _is_stem(node: fx.Node) -> bool:
    """Whether a node is the convolution of a ResNet's stem, on a picture of even sides."""
    if node.target is not _aten.conv2d.default or len(node.args) != 5:
        return False
    x, weight, _, stride, padding = node.args
    if not (isinstance(x, fx.Node) and isinstance(weight, fx.Node) and weight.op == "get_attr"):
        return False
    *_, height, width = x.meta["val"].shape
    sizes = tuple(weight.meta["val"].shape[1:]), list(stride), list(padding)  # type: ignore[arg-type]
    is_even = height % STRIDE == width % STRIDE == 0
    return is_even and sizes == ((3, SIZE, SIZE), [STRIDE] * 2, [PADDING] * 2)
