"""Kernels are told by their names, and every microsecond belongs to one kind."""

from dataclasses import replace

import pytest

from benchmarks.gpu_suite.profile import Kind, ProfileReport, kind_of, run_profile
from tests.benchmarks.gpu_suite.conftest import MakeContext


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sm90_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x128x64", "convolution"),
        ("void cutlass__5x_cudnn::Kernel<cutlass_tensorop_f16_s16816fprop_optimized_f16_128x64>", "convolution"),
        ("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT", "convolution"),
        ("triton_tem_fused_convolution_relu_4", "convolution"),
        ("triton_poi_fused_add_convolution_relu_12", "pointwise"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::sigmoid_kernel_cuda>", "pointwise"),
        ("void at::native::(anonymous namespace)::upsample_bilinear2d_out_frame<float>", "pointwise"),
        ("void cudnn::ops::nchwToNhwcKernel<__half, __half, float, false, true>", "copy"),
        ("Memcpy DtoD (Device -> Device)", "copy"),
        ("void at::native::elementwise_kernel<128, 4, at::native::direct_copy_kernel_cuda>", "copy"),
        ("void at::native::sbtopk::gatherTopK<float, unsigned int, 2, false>", "selection"),
        ("void at_cuda_detail::cub::DeviceRadixSortOnesweepKernel<float, long>", "selection"),
        ("void roi_align_interleaved<__half, 4>(RefinemaskRoiAlign, InterleavedShape)", "ours"),
        ("(anonymous namespace)::scan(RefinemaskFixedNms, (anonymous namespace)::Workspace)", "ours"),
        ("aten::upsample_bilinear2d", "pointwise"),
        ("aten::mkldnn_convolution", "convolution"),
        ("a kernel of another make", "other"),
    ],
)
def test_the_kind_of_a_kernel(name: str, kind: Kind) -> None:
    assert kind_of(name) == kind


def test_a_network_on_the_cpu(make_context: MakeContext) -> None:
    context = make_context()
    report = run_profile(context)
    assert report.contender == "exported graph fp32"
    assert report.kernels_us == pytest.approx(sum(report.us.values()), rel=1e-3)
    assert {"convolution", "ours"} <= set(report.us)
    assert len(report.top) == 40
    assert [kernel.us for kernel in report.top] == sorted((kernel.us for kernel in report.top), reverse=True)
    assert 0 < report.other_than_convolution < 1


def test_waiting_is_time_without_convolution() -> None:
    report = ProfileReport(
        contender="compiled fp16",
        elapsed_us=200,
        kernels_us=100,
        launches=3,
        us={"convolution": 80, "copy": 20},
        top=(),
    )
    assert report.other_than_convolution == pytest.approx(0.6)
    assert replace(report, elapsed_us=50).other_than_convolution == pytest.approx(0.2)
