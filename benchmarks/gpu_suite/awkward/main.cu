// Every kernel on awkward problems: for compute-sanitizer, and for first use in a capture.
//   nvcc -std=c++17 -O3 --fmad=false -lineinfo -arch=native -Itrt_plugins/kernels trt_plugins/kernels/*.cu main.cu
//   ./a.out [capture]
// With `capture` every kernel's first use is within the capture of a stream, whose graph is then launched twice. Prints
// what went wrong, and last "ok" or the number of failures.
#include "problems.h"

namespace {

using awkward::expect_success;

void launch_captured(const awkward::Problems& problems, cudaStream_t stream) {
    cudaGraph_t graph{};
    cudaGraphExec_t executable{};
    expect_success(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "cudaStreamBeginCapture");
    problems.launch(stream);
    expect_success(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    expect_success(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    for (int i = 0; i < 2; ++i) {
        expect_success(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
    }
    expect_success(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    expect_success(cudaGraphExecDestroy(executable), "cudaGraphExecDestroy");
    expect_success(cudaGraphDestroy(graph), "cudaGraphDestroy");
}

}  // namespace

int main(int count, char** arguments) {
    {
        const awkward::Problems problems;
        cudaStream_t stream{};
        expect_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
        expect_success(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
        if (count > 1 && std::string(arguments[1]) == "capture") {
            launch_captured(problems, stream);
        } else {
            problems.launch(stream);
            expect_success(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
        }
        problems.check();
        expect_success(cudaStreamDestroy(stream), "cudaStreamDestroy");
    }
    if (awkward::failures == 0) {
        std::printf("ok\n");
    } else {
        std::printf("%d failures\n", awkward::failures);
    }
    return awkward::failures != 0;
}
