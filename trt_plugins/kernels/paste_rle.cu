// From mask probabilities to COCO's run-length encodings in three kernels, without a word to the host:
//   find_runs        one block per mask, one thread per column of the image: crossings of one half to ends of runs;
//   measure_strings  one block per mask: bytes of its string;
//   write_strings    one block per mask: the strings, one right behind the other.
// A pasted mask is never made. Bytes: masks read once from memory and, two columns at a time, from the caches: 4 M^2 N;
// 4 bytes written per run, about two runs per column of a box. N = 100, M = 112: 5 MB read, 0.2 MB written.
#include "block_scan.h"
#include "paste.h"
#include "refinemask_kernels.h"

namespace refinemask {
namespace {

constexpr int kThreads = 512;
constexpr int kMaxSide = 1 << 24;  // from there on a pixel's centre is no float

// Whether the box, in pixels of the image, and the mask are finite; all threads of the block together.
__device__ bool all_finite(const float (&box)[4], const float* mask, int samples) {
    bool finite = is_finite(box[0]) && is_finite(box[1]) && is_finite(box[2]) && is_finite(box[3]);
    for (int i = threadIdx.x; i < samples; i += kThreads) {
        finite = finite && is_finite(__ldg(mask + i));
    }
    return __syncthreads_and(finite);
}

// What a column of the pasted mask looks like, and the ends of runs within it.
struct ColumnRuns {
    int inner = 0;        // ends between its first and last pixel
    bool top = false;     // whether its first pixel is foreground
    bool bottom = false;  // whether its last pixel is
};

// Calls put(row) for the ends of runs within the column, ascending.
template <typename Put>
__device__ ColumnRuns column_runs(const MaskColumn& column, int rows, const PixelAxis& y, int height, Put put) {
    constexpr int kNone = -1;
    ColumnRuns runs;
    int pending = kNone;
    const auto settle = [&] {
        if (pending == 0) {
            runs.top = true;
        } else if (pending != kNone && pending < height) {
            put(pending);
            ++runs.inner;
        }
    };
    for_each_change(column, rows, y, [&](int row) {
        if (row == pending) {
            pending = kNone;  // a run without a pixel
            return;
        }
        settle();
        pending = row;
    });
    settle();
    runs.bottom = (runs.inner + runs.top) % 2 != 0;
    return runs;
}

__global__ void __launch_bounds__(kThreads, 2) find_runs(const RefinemaskPasteRuns problem) {
    __shared__ bool bottoms[kThreads + 1];
    const int index = blockIdx.x, thread = threadIdx.x, height = problem.height;
    int32_t* const num_runs = problem.num_runs + index;
    if (problem.num_valid != nullptr && index >= *problem.num_valid) {
        if (thread == 0) {
            *num_runs = 0;
        }
        return;
    }
    const int samples = problem.rows * problem.columns;
    const float* const mask = problem.masks + static_cast<int64_t>(index) * samples;
    float box[4];
    for (int i = 0; i < 4; ++i) {
        box[i] = __ldg(problem.boxes + static_cast<int64_t>(index) * 4 + i) / problem.scale[i];
    }
    if (!all_finite(box, mask, samples)) {
        if (thread == 0) {
            *num_runs = REFINEMASK_NOT_FINITE;
        }
        return;
    }

    int32_t* const ends = problem.ends + static_cast<int64_t>(index) * problem.capacity;
    const auto put = [&](int place, int end) {
        if (place < problem.capacity) {
            ends[place] = end;
        }
    };
    const PixelAxis x(box[0], box[2], problem.width, problem.columns);
    const PixelAxis y(box[1], box[3], height, problem.rows);
    // In the column after the box ends what reaches the bottom of the box's last column.
    const int end_column = x.first < x.end && y.first < y.end ? min(x.end + 1, problem.width) : x.first;
    int written = 0;
    bool carried = false;
    for (int first = x.first; first < end_column; first += kThreads) {
        const int column = first + thread;
        const MaskColumn on_mask(mask, problem.columns, x.position(column));
        ColumnRuns runs;
        if (column < x.end) {
            runs = column_runs(on_mask, problem.rows, y, height, [](int) {});
        }
        bottoms[thread + 1] = runs.bottom;
        if (thread == 0) {
            bottoms[0] = carried;
        }
        __syncthreads();
        const bool at_top = column < end_column && runs.top != bottoms[thread];
        carried = bottoms[kThreads];
        const Scan scan = scan_block<kThreads>(at_top + runs.inner);
        int place = written + scan.before;
        const int start = column * height;
        if (at_top) {
            put(place++, start);
        }
        if (runs.inner > 0) {
            column_runs(on_mask, problem.rows, y, height, [&](int row) { put(place++, start + row); });
        }
        written += scan.total;
    }
    if (thread == 0) {
        put(written, height * problem.width);
        *num_runs = written + 1;
    }
}

// What COCO's format stores of a run: its length, from the fourth run on less that of the run before the last.
__device__ int stored_value(const int32_t* ends, int run) {
    const int length = ends[run] - (run > 0 ? ends[run - 1] : 0);
    return run > 2 ? length - (ends[run - 2] - ends[run - 3]) : length;
}

// Calls emit(byte) for the bytes of a value: five bits each, the lowest first, with a bit that says that more follow.
template <typename Emit>
__device__ void for_each_byte(int value, Emit emit) {
    bool more = true;
    while (more) {
        const int bits = value & 0x1f;
        value >>= 5;
        more = value != (bits & 0x10 ? -1 : 0);
        emit(static_cast<uint8_t>((more ? bits | 0x20 : bits) + 48));
    }
}

__device__ int string_bytes(int value) {
    int bytes = 0;
    for_each_byte(value, [&](uint8_t) { ++bytes; });
    return bytes;
}

// Runs of a mask that are there to be written: none where some had no room.
__device__ int present_runs(const RefinemaskRleStrings& problem, int index) {
    const int runs = problem.num_runs[index];
    return runs > 0 && runs <= problem.capacity ? runs : 0;
}

__global__ void __launch_bounds__(kThreads) measure_strings(const RefinemaskRleStrings problem) {
    const int index = blockIdx.x, runs = present_runs(problem, index);
    const int32_t* const ends = problem.ends + static_cast<int64_t>(index) * problem.capacity;
    int bytes = 0;
    for (int run = threadIdx.x; run < runs; run += kThreads) {
        bytes += string_bytes(stored_value(ends, run));
    }
    const Scan scan = scan_block<kThreads>(bytes);
    if (threadIdx.x == 0) {
        problem.num_bytes[index] = scan.total;
    }
}

__global__ void __launch_bounds__(kThreads) write_strings(const RefinemaskRleStrings problem) {
    const int index = blockIdx.x, runs = present_runs(problem, index);
    const int32_t* const ends = problem.ends + static_cast<int64_t>(index) * problem.capacity;
    int bytes_before = 0;
    for (int other = threadIdx.x; other < index; other += kThreads) {
        bytes_before += problem.num_bytes[other];
    }
    int64_t start = scan_block<kThreads>(bytes_before).total;
    for (int first = 0; first < runs; first += kThreads) {
        const int run = first + threadIdx.x;
        const int value = run < runs ? stored_value(ends, run) : 0;
        const int bytes = run < runs ? string_bytes(value) : 0;
        const Scan scan = scan_block<kThreads>(bytes);
        int64_t place = start + scan.before;
        if (run < runs && place + bytes <= problem.string_capacity) {
            for_each_byte(value, [&](uint8_t byte) { problem.strings[place++] = byte; });
        }
        start += scan.total;
    }
}

cudaError_t paste_runs(const RefinemaskPasteRuns& problem, void* stream) {
    const int64_t pixels = static_cast<int64_t>(problem.height) * problem.width;
    const int64_t samples = static_cast<int64_t>(problem.rows) * problem.columns;
    if (problem.num_masks < 0 || problem.rows < 1 || problem.columns < 1 || samples > kMaxSide || problem.height < 1 ||
        problem.width < 1 || problem.height > kMaxSide || problem.width > kMaxSide || pixels > INT32_MAX ||
        problem.capacity < 1) {
        return cudaErrorInvalidValue;
    }
    return problem.num_masks == 0 ? cudaSuccess : launch(find_runs, problem.num_masks, kThreads, 0, stream, problem);
}

cudaError_t rle_strings(const RefinemaskRleStrings& problem, void* stream) {
    const int64_t most_bytes = static_cast<int64_t>(problem.num_masks) * problem.capacity * REFINEMASK_RUN_MAX_BYTES;
    if (problem.num_masks < 0 || problem.capacity < 1 || problem.string_capacity < 0 || most_bytes > INT32_MAX) {
        return cudaErrorInvalidValue;
    }
    if (problem.num_masks == 0) {
        return cudaSuccess;
    }
    const cudaError_t error = launch(measure_strings, problem.num_masks, kThreads, 0, stream, problem);
    return error ? error : launch(write_strings, problem.num_masks, kThreads, 0, stream, problem);
}

}  // namespace
}  // namespace refinemask

extern "C" int refinemask_paste_runs(const RefinemaskPasteRuns* problem, void* stream) {
    return refinemask::paste_runs(*problem, stream);
}

extern "C" int refinemask_rle_strings(const RefinemaskRleStrings* problem, void* stream) {
    return refinemask::rle_strings(*problem, stream);
}
