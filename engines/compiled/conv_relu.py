"""``refinemask::conv_relu``: a convolution, its bias, a sum and its ReLU as one call of cuDNN.

PyTorch's compiler leaves convolutions to cuDNN, and computes what follows in a kernel of its own, which reads and
writes the whole map once more.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from engines.compiled.weights import add_constant, value_of

_aten = torch.ops.aten


def _conv_relu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """``relu(conv2d(x, weight, bias) + residual)``, without groups, channels last.

    Compiled code takes the strides of the result for granted. What cuDNN chooses, and what PyTorch expects of it while
    it compiles, is not always the same.

    Args:
        x: [B, C, H, W].
        weight: [D, C, k, k].
        bias: [D].
        residual: [B, D, h, w], as the result; None adds nothing.
        stride: of rows and columns, as the following two.
        padding: zeros on each side.
        dilation: distance of taps.
    """
    sums = F.conv2d(x, weight, bias, stride, padding, dilation)
    return F.relu(sums if residual is None else sums + residual).contiguous(memory_format=torch.channels_last)


conv_relu = torch.library.custom_op("refinemask::conv_relu", _conv_relu, mutates_args=())
conv_relu.register_fake(_conv_relu)


@conv_relu.register_kernel("cuda")
def _(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None, *geometry: Sequence[int]) -> Tensor:
    # cuDNN's result lies as its input does.
    x = x.contiguous(memory_format=torch.channels_last)
    if residual is None:
        found = _aten.cudnn_convolution_relu(x, weight, bias, *geometry, 1)
    else:
        found = _aten.cudnn_convolution_add_relu(x, weight, residual, 1.0, bias, *geometry, 1)
    return found.contiguous(memory_format=torch.channels_last)


def fuse_conv_relu(module: fx.GraphModule) -> int:
    """Put :func:`conv_relu` in the place of convolutions with a bias that a ReLU follows, directly or after a sum.

    Args:
        module: an exported program's module, changed in place.

    Returns:
        The number of convolutions that were replaced.
    """
    fused = 0
    for relu in [node for node in module.graph.nodes if node.target is _aten.relu.default]:
        found = _convolution(relu.args[0])
        if found is None:
            continue
        conv, residual = found
        if residual is not None:
            _move_bias(module, residual, conv)
        with module.graph.inserting_before(relu):
            x, *arguments = _arguments(conv)
            call = module.graph.call_function(
                torch.ops.refinemask.conv_relu.default,
                (_channels_last(module, x), *arguments[:2], residual, *arguments[2:]),
            )
        call.meta = dict(relu.meta)
        relu.replace_all_uses_with(call)
        fused += 1
    module.graph.eliminate_dead_code()
    module.recompile()
    return fused


def _convolution(before: object) -> tuple[fx.Node, fx.Node | None] | None:
    """The convolution that alone a ReLU's input comes from, and what is added to it; None if there is none."""
    if not isinstance(before, fx.Node) or len(before.users) > 1:
        return None
    if _is_plain(before):
        return before, None
    # A sum may have a factor, its only keyword.
    if before.target is not _aten.add.Tensor or before.kwargs:
        return None
    # Of two convolutions the later one takes the other's result.
    order = {node: place for place, node in enumerate(before.graph.nodes)}
    operands = [each for each in before.args if isinstance(each, fx.Node)]
    if len(operands) != 2 or _shape(operands[0]) != _shape(operands[1]):
        return None
    for conv, residual in sorted(zip(operands, operands[::-1], strict=True), key=lambda pair: -order[pair[0]]):
        if _is_plain(conv) and len(conv.users) == 1:
            return conv, residual
    return None


def _is_plain(node: fx.Node) -> bool:
    """Whether a node is a convolution with a bias and without groups, and nothing but numbers beside tensors."""
    if node.target is not _aten.conv2d.default or len(node.args) < 3 or node.args[2] is None:
        return False
    return len(node.args) < 7 or bool(node.args[6] == 1)


def _arguments(conv: fx.Node) -> tuple[Any, ...]:
    """Input, weight, bias, stride, padding and dilation of a convolution."""
    defaults = ([1, 1], [0, 0], [1, 1])
    given = conv.args[3:6]
    return (*conv.args[:3], *given, *defaults[len(given) :])


def _move_bias(module: fx.GraphModule, residual: fx.Node, conv: fx.Node) -> None:
    """Let the later of two summed convolutions add both biases: the other's would take a kernel of its own."""
    if residual is conv or not _is_plain(residual) or len(residual.users) > 1:
        return
    biases = residual.args[2], conv.args[2]
    if not all(isinstance(bias, fx.Node) and bias.op == "get_attr" for bias in biases):
        return
    theirs, ours = (value_of(module, bias) for bias in biases)  # type: ignore[arg-type]
    with module.graph.inserting_before(conv):
        constant = add_constant(module, f"biases_of_{conv.name}", theirs + ours)
    residual.args = (*residual.args[:2], None, *residual.args[3:])
    conv.args = (*conv.args[:2], constant, *conv.args[3:])


def _channels_last(module: fx.GraphModule, x: fx.Node) -> fx.Node:
    """A map whose channels lie side by side: whatever computes a planar one can write it so."""
    if x.meta["val"].stride(1) == 1:
        return x
    return module.graph.call_function(_aten.contiguous.default, (x,), {"memory_format": torch.channels_last})


def _shape(node: fx.Node) -> tuple[torch.Size, torch.dtype]:
    value = node.meta["val"]
    return value.shape, value.dtype
