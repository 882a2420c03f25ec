// The k largest of each segment of each row in order, exactly, without a word to the host. Where all segments are
// short, rank alone; else all kernels, each for all segments at once:
//   count_digit  three times, one block per chunk of a segment: a radix select, which finds the k-th value 11, 11 and
//                10 bits at a time from histograms;
//   gather       one block per chunk: those above the k-th value, and the first few of those equal to it;
//   rank         one block per 32 of what is left: how many come before each, which is its place in the result.
// Bytes, nearly all from the second-level cache, N values per segment: 16 N read; 2 N written and 32 KB read per chunk
// of 2048; k^2 / 4 read in rank. 202,600 -> 1000: 3.2 MB + 0.4 MB + 3.2 MB + 0.3 MB.
#include <algorithm>
#include <initializer_list>

#include "block_scan.h"
#include "refinemask_kernels.h"

namespace refinemask {
namespace {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kThreads = 512;
constexpr int kPerThread = 4;
constexpr int kChunk = kThreads * kPerThread;
constexpr int kWords = kChunk / kWarp;

constexpr int kDigits = 3;
constexpr int kBins = 2048;
constexpr int kLastBins = 1024;
constexpr int kMaxRanked = 5120;  // values whose keys fit into a block's usual shared memory

REFINEMASK_HD constexpr int shift_of(int digit) { return digit == 0 ? 21 : digit == 1 ? 10 : 0; }
REFINEMASK_HD constexpr int bins_of(int digit) { return digit + 1 < kDigits ? kBins : kLastBins; }

// Bits that ascend as values descend, NaN first; -0 is 0. No value has kPastTheEnd.
constexpr uint32_t kPastTheEnd = ~0u;
REFINEMASK_HD uint32_t descending_bits(float value) {
    if (value != value) {
        return 0;
    }
    const float zero_is_positive = value + 0.0f;
    uint32_t bits;
    memcpy(&bits, &zero_is_positive, sizeof(bits));
    return bits >> 31 != 0 ? bits : ~bits & 0x7fffffffu;
}

// Ascends in the order of the result: by value, of equals the lower index first. No two of a row are the same.
REFINEMASK_HD uint64_t key_of(uint32_t bits, int index) {
    return static_cast<uint64_t>(bits) << 32 | static_cast<uint32_t>(index);
}

// What is known of the k-th value of a row once some of its digits have been found.
struct Selection {
    uint32_t bits;  // these digits, and zeros behind them
    int wanted;     // the k-th value of the row is this many-th, counted from 1, of those with these digits
};

// How many blocks work on a segment: one for every kPerBlock of its values, or of the k keys that were gathered.
template <int kPerBlock, bool kGathered>
REFINEMASK_HD int blocks_of(const RefinemaskTopKSegments& problem, int segment) {
    return ceil_div(kGathered ? problem.k : problem.lengths[segment], kPerBlock);
}

// And on a row: those of one segment behind those of another.
template <int kPerBlock, bool kGathered = false>
int blocks_per_row(const RefinemaskTopKSegments& problem) {
    int blocks = 0;
    for (int segment = 0; segment < problem.num_segments; ++segment) {
        blocks += blocks_of<kPerBlock, kGathered>(problem, segment);
    }
    return blocks;
}

// What a block works on: a part of a segment of a row. A row of the grid works on a row of the values.
struct Part {
    const float* values;  // the segment's
    int length;           // of the segment
    int row;              // of the results
    int index;            // the block's among those of the segment

    template <int kPerBlock, bool kGathered = false>
    static __device__ Part of_block(const RefinemaskTopKSegments& problem) {
        const float* values = problem.values + static_cast<int64_t>(blockIdx.y) * problem.num_values;
        int segment = 0, index = static_cast<int>(blockIdx.x), length = problem.lengths[0];
#pragma unroll
        for (int next = 1; next < REFINEMASK_TOP_K_MAX_SEGMENTS; ++next) {
            const int blocks = blocks_of<kPerBlock, kGathered>(problem, next - 1);
            if (index < blocks) {
                break;
            }
            index -= blocks;
            values += length;
            segment = next;
            length = problem.lengths[next];
        }
        return {values, length, segment * problem.groups + static_cast<int>(blockIdx.y), index};
    }
};

struct Workspace {
    int* histograms;        // [S * G, 3, kBins]: how many values with the digits so far have each next digit
    int* gathered;          // [S * G]
    Selection* selections;  // [S * G, 3]: before each digit
    int* ties;              // [G, chunks, kLastBins]: the last digit's histogram of each chunk
    uint64_t* keys;         // [S * G, k], in any order
    int64_t rows;           // S * G
    int chunks;             // of all segments of a row

    Workspace(const RefinemaskTopKSegments& problem)
        : rows(static_cast<int64_t>(problem.num_segments) * problem.groups), chunks(blocks_per_row<kChunk>(problem)) {
        keys = static_cast<uint64_t*>(problem.workspace);
        selections = reinterpret_cast<Selection*>(keys + rows * problem.k);
        histograms = reinterpret_cast<int*>(selections + rows * kDigits);
        gathered = histograms + rows * kDigits * kBins;
        ties = gathered + rows;
    }
    int64_t bytes(const RefinemaskTopKSegments& problem) const {
        const int64_t row = static_cast<int64_t>(problem.k) * sizeof(uint64_t) + kDigits * sizeof(Selection) +
                            (kDigits * kBins + 1) * sizeof(int);
        return row * rows + static_cast<int64_t>(problem.groups) * chunks * kLastBins * sizeof(int);
    }
    cudaError_t clear(void* stream) const {
        const size_t numbers = static_cast<size_t>(rows) * (kDigits * kBins + 1);
        return cudaMemsetAsync(histograms, 0, numbers * sizeof(int), static_cast<cudaStream_t>(stream));
    }
    __device__ int* histogram(int row, int digit) const {
        return histograms + (static_cast<int64_t>(row) * kDigits + digit) * kBins;
    }
    // Of the block's own chunk, or of one so many before it.
    __device__ int* ties_of_chunk(int before = 0) const {
        const int chunk = static_cast<int>(blockIdx.x) - before;
        return ties + (static_cast<int64_t>(blockIdx.y) * chunks + chunk) * kLastBins;
    }
};

// The thread's values of the block's chunk: index * kChunk + i * kThreads + thread.
struct Values {
    uint32_t bits[kPerThread];
    int first;

    __device__ Values(const Part& part) : first(part.index * kChunk + static_cast<int>(threadIdx.x)) {
#pragma unroll
        for (int i = 0; i < kPerThread; ++i) {
            const int index = index_of(i);
            bits[i] = index < part.length ? descending_bits(__ldg(part.values + index)) : kPastTheEnd;
        }
    }
    __device__ int index_of(int i) const { return first + i * kThreads; }
};

// What is known once the next digit is, too; all threads of the block together.
__device__ Selection select_digit(const int* histogram, Selection known, int digit) {
    __shared__ Selection found;
    constexpr int kBinsPerThread = kBins / kThreads;
    const int first = threadIdx.x * kBinsPerThread;
    int counts[kBinsPerThread], sum = 0;
#pragma unroll
    for (int i = 0; i < kBinsPerThread; ++i) {
        counts[i] = histogram[first + i];
        sum += counts[i];
    }
    int before = scan_block<kThreads>(sum).before;
#pragma unroll
    for (int i = 0; i < kBinsPerThread; ++i) {
        if (before < known.wanted && known.wanted <= before + counts[i]) {
            found = {known.bits | static_cast<uint32_t>(first + i) << shift_of(digit), known.wanted - before};
        }
        before += counts[i];
    }
    __syncthreads();
    return found;
}

// The histogram of the next digit, of those values whose digits so far are those of the k-th value.
template <int kDigit>
__global__ void __launch_bounds__(kThreads) count_digit(const RefinemaskTopKSegments problem, const Workspace work) {
    constexpr int kShift = shift_of(kDigit), kCounted = bins_of(kDigit);
    __shared__ int counts[kCounted];
    const Part part = Part::of_block<kChunk>(problem);
    const int row = part.row;
    const Values values(part);
    for (int bin = threadIdx.x; bin < kCounted; bin += kThreads) {
        counts[bin] = 0;
    }
    Selection known{0, problem.k};
    if constexpr (kDigit > 0) {
        const Selection before = work.selections[row * kDigits + kDigit - 1];
        known = select_digit(work.histogram(row, kDigit - 1), before, kDigit - 1);
    }
    if (part.index == 0 && threadIdx.x == 0) {
        work.selections[row * kDigits + kDigit] = known;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
        if (kDigit == 0 || (values.bits[i] ^ known.bits) >> shift_of(kDigit - 1) == 0) {
            atomicAdd(&counts[values.bits[i] >> kShift & (kCounted - 1)], 1);
        }
    }
    __syncthreads();
    for (int bin = threadIdx.x; bin < kCounted; bin += kThreads) {
        if (counts[bin] != 0) {
            atomicAdd(work.histogram(row, kDigit) + bin, counts[bin]);
        }
        if (kDigit + 1 == kDigits) {
            work.ties_of_chunk()[bin] = counts[bin];
        }
    }
}

// How many values of the segment's chunks before this one equal the k-th; all threads of the block together.
__device__ int ties_before(const Workspace& work, int chunks, uint32_t kth) {
    int count = 0;
    for (int before = 1 + static_cast<int>(threadIdx.x); before <= chunks; before += kThreads) {
        count += work.ties_of_chunk(before)[kth & (kLastBins - 1)];
    }
    return scan_block<kThreads>(count).total;
}

// Whether each of the thread's values is among the k largest; all threads of the block together.
__device__ void choose(const Values& values, Selection kth, int earlier_ties, bool (&chosen)[kPerThread]) {
    __shared__ uint32_t tied[kWords];  // bits over the values of the chunk
    __shared__ int before[kWords];
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
        const uint32_t word = __ballot_sync(kAllLanes, values.bits[i] == kth.bits);
        if (lane == 0) {
            tied[i * (kThreads / kWarp) + warp] = word;
        }
    }
    __syncthreads();
    const int word = threadIdx.x;
    const Scan scan = scan_block<kThreads>(word < kWords ? __popc(tied[word]) : 0);
    if (word < kWords) {
        before[word] = earlier_ties + scan.before;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
        const int own = i * (kThreads / kWarp) + warp;
        const int rank = before[own] + __popc(tied[own] & ((1u << lane) - 1));
        chosen[i] = values.bits[i] < kth.bits || (values.bits[i] == kth.bits && rank < kth.wanted);
    }
}

__global__ void __launch_bounds__(kThreads) gather(const RefinemaskTopKSegments problem, const Workspace work) {
    __shared__ int num_chosen, first;
    const Part part = Part::of_block<kChunk>(problem);
    const int row = part.row;
    const Values values(part);
    if (threadIdx.x == 0) {
        num_chosen = 0;
    }
    const Selection before = work.selections[row * kDigits + kDigits - 1];
    const Selection kth = select_digit(work.histogram(row, kDigits - 1), before, kDigits - 1);
    bool chosen[kPerThread];
    choose(values, kth, ties_before(work, part.index, kth.bits), chosen);
    int places[kPerThread];
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
        places[i] = chosen[i] ? atomicAdd(&num_chosen, 1) : 0;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        first = atomicAdd(work.gathered + row, num_chosen);
    }
    __syncthreads();
    uint64_t* const keys = work.keys + static_cast<int64_t>(row) * problem.k;
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
        if (chosen[i]) {
            keys[first + places[i]] = key_of(values.bits[i], values.index_of(i));
        }
    }
}

// A lane for each key whose rank is wanted, a warp for each slice of the keys that it is compared with. The keys are
// those of all values of a segment, or those gathered.
template <bool kGathered>
__global__ void __launch_bounds__(kThreads) rank(const RefinemaskTopKSegments problem, const Workspace work) {
    __shared__ int ranks[kWarp];
    auto* const keys = reinterpret_cast<uint64_t*>(dynamic_shared());  // [count]
    const Part part = Part::of_block<kWarp, kGathered>(problem);
    const int count = kGathered ? problem.k : part.length;
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int64_t first = static_cast<int64_t>(part.row) * problem.k;
    for (int i = threadIdx.x; i < count; i += kThreads) {
        keys[i] = kGathered ? work.keys[first + i] : key_of(descending_bits(__ldg(part.values + i)), i);
    }
    if (warp == 0) {
        ranks[lane] = 0;
    }
    __syncthreads();
    const int own = part.index * kWarp + lane;
    const uint64_t key = own < count ? keys[own] : 0;
    int before = 0;
#pragma unroll 8
    for (int i = warp; i < count; i += kThreads / kWarp) {
        before += keys[i] < key;
    }
    atomicAdd(&ranks[lane], before);
    __syncthreads();
    if (warp == 0 && own < count && ranks[lane] < problem.k) {
        const int index = static_cast<int>(key & 0xffffffffu);
        problem.top_values[first + ranks[lane]] = part.values[index];
        if (problem.top_indices != nullptr) {
            problem.top_indices[first + ranks[lane]] = index;
        } else {
            problem.narrow_top_indices[first + ranks[lane]] = index;
        }
    }
}

template <bool kGathered>
cudaError_t launch_rank(const RefinemaskTopKSegments& problem, const Workspace& work, int most_keys, void* stream) {
    const dim3 grid(blocks_per_row<kWarp, kGathered>(problem), problem.groups);
    return launch(rank<kGathered>, grid, kThreads, most_keys * sizeof(uint64_t), stream, problem, work);
}

int longest_segment(const RefinemaskTopKSegments& problem) {
    return *std::max_element(problem.lengths, problem.lengths + problem.num_segments);
}

bool valid(const RefinemaskTopKSegments& problem) {
    if (problem.num_segments < 1 || problem.num_segments > REFINEMASK_TOP_K_MAX_SEGMENTS) {
        return false;
    }
    int64_t values = 0;
    for (int segment = 0; segment < problem.num_segments; ++segment) {
        values += problem.lengths[segment];
        if (problem.lengths[segment] < problem.k) {
            return false;
        }
    }
    return values == problem.num_values && problem.num_values <= 1 << 30 && problem.groups >= 0 &&
           problem.groups <= REFINEMASK_TOP_K_MAX_GROUPS && problem.k >= 0 && problem.k <= REFINEMASK_TOP_K_MAX;
}

cudaError_t top_k(const RefinemaskTopKSegments& problem, void* stream) {
    if (!valid(problem)) {
        return cudaErrorInvalidValue;
    }
    if (problem.groups == 0 || problem.k == 0) {
        return cudaSuccess;
    }
    const Workspace work(problem);
    const int longest = longest_segment(problem);
    if (longest <= kMaxRanked) {
        return launch_rank<false>(problem, work, longest, stream);
    }
    cudaError_t error = work.clear(stream);
    const dim3 chunks(work.chunks, problem.groups);
    for (const auto kernel : {count_digit<0>, count_digit<1>, count_digit<2>, gather}) {
        if (error) {
            return error;
        }
        error = launch(kernel, chunks, kThreads, 0, stream, problem, work);
    }
    return error ? error : launch_rank<true>(problem, work, problem.k, stream);
}

int64_t workspace_bytes(const RefinemaskTopKSegments& problem) {
    return valid(problem) && longest_segment(problem) > kMaxRanked ? Workspace(problem).bytes(problem) : 0;
}

}  // namespace
}  // namespace refinemask

extern "C" int64_t refinemask_top_k_segments_workspace(const RefinemaskTopKSegments* problem) {
    return refinemask::workspace_bytes(*problem);
}

extern "C" int refinemask_top_k_segments(const RefinemaskTopKSegments* problem, void* stream) {
    return refinemask::top_k(*problem, stream);
}
