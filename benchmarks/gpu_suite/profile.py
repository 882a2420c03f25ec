"""Where the time of a network goes on the device: by kind of kernel, and the kernels that take longest."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity
from torch.profiler import profile as torch_profile

from benchmarks.gpu_suite.contenders import Contender, Entry, compiled, eager, exported
from benchmarks.gpu_suite.context import Context, NotRunError
from benchmarks.gpu_suite.engine_files import begin_compiled
from benchmarks.gpu_suite.memory import free_memory
from benchmarks.gpu_suite.opened import Opened
from benchmarks.gpu_suite.rounds import take_turns
from benchmarks.gpu_suite.subjects import subject

Kind = Literal["convolution", "ours", "selection", "pointwise", "copy", "other"]
PRODUCTS = ("gemm", "gemv", "cutlass", "xmma", "nvjet", "splitk", "::mm", "addmm", "bmm")
WORDS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("ours", ("refinemask", "roi_align_", "find_overlaps", "sort_boxes", "boundary_merge", "label_logits", "paste_")),
    # PyTorch's compiler names kernels by all that they fuse, a convolution's bias for one.
    ("pointwise", ("triton_poi", "triton_red", "triton_per", "triton_for", "cpp_fused")),
    ("selection", ("topk", "sort", "radix", "cub::")),
    ("copy", ("memcpy", "memset", "copy_", "batchedcopy", "nchwtonhwc", "nhwctonchw", "converttensor")),
    ("convolution", ("conv", "cudnn", "triton_", *PRODUCTS)),
    ("pointwise", ("elementwise", "vectorized", "upsample", "reduce", "softmax", "index", "scatter", "gather")),
)
"""Words in lower case in the names of kernels of each kind; the first with a word of a name is its kind."""
TOP = 40
"""Number of kernels that are listed."""
RUNS = 5


@dataclass(frozen=True, kw_only=True)
class KernelShare:
    """All launches of one kernel."""

    name: str
    kind: Kind
    us: float
    """Microseconds per image."""
    launches: float
    """Launches per image."""


@dataclass(frozen=True, kw_only=True)
class ProfileReport:
    """One network's kernels."""

    contender: str
    elapsed_us: float
    """Microseconds of an image between two events on the device, without the profiler."""
    kernels_us: float
    """Microseconds of all kernels of an image; more than elapsed where kernels run beside one another."""
    launches: float
    """Kernels per image."""
    us: dict[str, float]
    """Microseconds per image by kind of kernel."""
    top: tuple[KernelShare, ...]
    """The kernels that take longest, in order."""

    @property
    def other_than_convolution(self) -> float:
        """Share of the time in which no convolution or matrix product runs, waiting included."""
        return 1 - self.us.get("convolution", 0.0) / max(self.elapsed_us, self.kernels_us)

    @property
    def headline(self) -> str:
        """The key figures in one line."""
        shares = ", ".join(f"{kind} {us / self.kernels_us:.0%}" for kind, us in self.us.items())
        return f"{self.contender}: {self.launches:.0f} kernels, {self.kernels_us:.0f} µs: {shares}"


def prepare_profile(context: Context) -> None:
    """Begin to compile what is profiled."""
    network = subject(context, "refinemask")
    begin_compiled(context, network.checkpoint, _precision(context), network.canvas, batch=1)


def run_profile(context: Context) -> ProfileReport:
    """Profile the compiled engine or, where there is none, the next best."""
    network = subject(context, "refinemask")
    entry = Entry(context=context, subject=network, batch=network.batch("many", 1))
    candidates: list[Contender] = [compiled(_precision(context))]
    candidates += [exported("fp16", record=True), eager("fp16")] if context.cuda else [exported("fp32", record=False)]
    for contender in candidates:
        report = context.attempt(contender.name, partial(_profile, context, entry, contender))
        free_memory()
        if report is not None:
            return report
    raise NotRunError("nothing could be profiled")


def _precision(context: Context) -> str:
    return "fp16" if context.cuda else "fp32"


def _profile(context: Context, entry: Entry, contender: Contender) -> ProfileReport:
    opened = contender.open(entry)
    opened.upload(entry.batch)
    samples = take_turns({"": opened}, context.device, seconds=3, rounds=2 if context.tiny else 20, failed=_raise)
    elapsed = sorted(sample.device * 1e3 for sample in samples[""])
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if context.cuda else [])]
    with opened.turn():
        _run(opened, context.cuda)
        with torch_profile(activities=activities) as profiler:
            for _ in range(RUNS):
                _run(opened, context.cuda)
    kernels = _kernels(profiler.key_averages(), context.cuda)
    if not kernels:
        raise NotRunError("the profiler saw no kernel; it needs the driver's leave to trace")
    us: dict[str, float] = {}
    for kernel in kernels:
        us[kernel.kind] = us.get(kernel.kind, 0.0) + kernel.us
    return ProfileReport(
        contender=contender.name,
        elapsed_us=round(elapsed[len(elapsed) // 2], 1),
        kernels_us=round(sum(us.values()), 1),
        launches=sum(kernel.launches for kernel in kernels),
        us={kind: round(value, 1) for kind, value in sorted(us.items(), key=lambda item: -item[1])},
        top=tuple(kernels[:TOP]),
    )


def _run(opened: Opened, cuda: bool) -> None:
    opened.run()
    if cuda:
        torch.cuda.synchronize()


def _raise(_: str, error: Exception) -> None:
    raise error


def _kernels(averages: Iterable[object], cuda: bool) -> list[KernelShare]:
    """What ran on the device, longest first; on a CPU these are operators."""
    found = []
    for event in averages:
        # An operator's time on a GPU is that of its kernels, which have entries of their own.
        if (event.device_type != DeviceType.CPU) != cuda or event.is_user_annotation:  # type: ignore[attr-defined]
            continue
        time = event.self_device_time_total if cuda else event.self_cpu_time_total  # type: ignore[attr-defined]
        if time > 0:
            name, count = event.key, event.count  # type: ignore[attr-defined]
            us, launches = round(time / RUNS, 2), count / RUNS
            found.append(KernelShare(name=name[:200], kind=kind_of(name), us=us, launches=launches))
    return sorted(found, key=lambda kernel: -kernel.us)


def kind_of(name: str) -> Kind:
    """The kind of a kernel, told by its name."""
    lower = name.lower()
    return next((kind for kind, words in WORDS if any(word in lower for word in words)), "other")
