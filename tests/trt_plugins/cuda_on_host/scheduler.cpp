#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "cuda_runtime.h"

Index threadIdx, blockIdx, blockDim;

namespace cuda_on_host {

unsigned char* dynamic_memory = nullptr;
int multiprocessors = 4;
size_t shared_bytes_per_multiprocessor = 0;
int64_t loads = 0;

namespace {

constexpr size_t kStackBytes = 64 * 1024;
constexpr int kWarp = 32;

enum class Waits { kNot, kBlock, kBallot, kOr, kExchange };

struct Thread {
    ucontext_t start;
    jmp_buf resume;
    std::unique_ptr<char[]> stack{new char[kStackBytes]};
    bool started, done;
    Waits waits;
    uint32_t value;  // what the thread brings to a barrier, and then what it takes away
    int lane_mask;   // of the thread that it exchanges values with
};

std::vector<Thread> threads;
Thread* running = nullptr;
const std::function<void()>* body = nullptr;
jmp_buf scheduler;
unsigned order_seed = 0;

void enter() {
    (*body)();
    running->done = true;
    _longjmp(scheduler, 1);
}

uint32_t wait(Waits waits, uint32_t value) {
    Thread* const self = running;
    self->waits = waits;
    self->value = value;
    if (_setjmp(self->resume) == 0) {
        _longjmp(scheduler, 1);
    }
    return self->value;
}

void run_until_waiting(int index) {
    running = &threads[index];
    threadIdx = {index, 0, 0};
    if (_setjmp(scheduler) == 0) {
        if (running->started) {
            _longjmp(running->resume, 1);
        }
        running->started = true;
        setcontext(&running->start);
    }
}

// Lets the threads [first, last) go if all that are not done wait for the same thing.
bool release(int first, int last, Waits waits) {
    uint32_t all = 1, any = 0, ballot = 0;
    int waiting = 0, done = 0;
    for (int i = first; i < last; ++i) {
        done += threads[i].done;
        if (!threads[i].done && threads[i].waits == waits) {
            ++waiting;
            all = all && threads[i].value;
            any |= threads[i].value;
            ballot |= (threads[i].value != 0) << ((i - first) % kWarp);
        }
    }
    // A warp-wide function names all 32 lanes, so none may have left; a block's barrier counts who is still there.
    const bool complete = waits == Waits::kBlock ? waiting + done == last - first : waiting == kWarp;
    if (waiting == 0 || !complete) {
        return false;
    }
    uint32_t brought[kWarp];
    for (int i = first; waits == Waits::kExchange && i < last; ++i) {
        brought[i - first] = threads[i].value;
    }
    for (int i = first; i < last; ++i) {
        if (!threads[i].done) {
            threads[i].waits = Waits::kNot;
            threads[i].value = waits == Waits::kExchange ? brought[(i - first) ^ threads[i].lane_mask]
                               : waits == Waits::kBlock  ? all
                               : waits == Waits::kBallot ? ballot
                                                         : any;
        }
    }
    return true;
}

bool release_all() {
    const int count = static_cast<int>(threads.size());
    bool released = release(0, count, Waits::kBlock);
    for (int first = 0; first < count; first += kWarp) {
        const int last = std::min(first + kWarp, count);
        released |= release(first, last, Waits::kBallot) || release(first, last, Waits::kOr) ||
                    release(first, last, Waits::kExchange);
    }
    return released;
}

void run_block(std::mt19937& random) {
    for (Thread& thread : threads) {
        thread.started = thread.done = false;
        thread.waits = Waits::kNot;
        getcontext(&thread.start);
        thread.start.uc_stack.ss_sp = thread.stack.get();
        thread.start.uc_stack.ss_size = kStackBytes;
        makecontext(&thread.start, enter, 0);
    }
    std::vector<int> order(threads.size());
    std::iota(order.begin(), order.end(), 0);
    do {
        if (order_seed != 0) {
            std::shuffle(order.begin(), order.end(), random);
        }
        for (const int index : order) {
            if (!threads[index].done && threads[index].waits == Waits::kNot) {
                run_until_waiting(index);
            }
        }
    } while (release_all());
    for (const Thread& thread : threads) {
        if (!thread.done) {
            std::fprintf(stderr, "threads wait at different barriers\n");
            std::abort();
        }
    }
}

}  // namespace

bool all_of_block(bool predicate) { return wait(Waits::kBlock, predicate) != 0; }
uint32_t ballot(bool predicate) { return wait(Waits::kBallot, predicate); }
uint32_t or_of_warp(uint32_t value) { return wait(Waits::kOr, value); }
uint32_t exchange(uint32_t value, int lane_mask) {
    running->lane_mask = lane_mask;
    return wait(Waits::kExchange, value);
}

std::map<void*, size_t>& most_shared_bytes() {
    static std::map<void*, size_t> most;
    return most;
}

void run(const cudaLaunchConfig_t& config, const std::function<void()>& kernel) {
    if (threads.size() != config.blockDim.x) {
        threads = std::vector<Thread>(config.blockDim.x);
    }
    body = &kernel;
    blockDim = {static_cast<int>(config.blockDim.x), 1, 1};
    std::vector<uint4> memory(config.dynamicSmemBytes / sizeof(uint4) + 1);
    dynamic_memory = reinterpret_cast<unsigned char*>(memory.data());
    std::mt19937 random(order_seed);
    const int columns = static_cast<int>(config.gridDim.x), rows = static_cast<int>(config.gridDim.y);
    for (int block = 0; block < columns * rows * static_cast<int>(config.gridDim.z); ++block) {
        blockIdx = {block % columns, block / columns % rows, block / columns / rows};
        std::memset(dynamic_memory, 0xff, memory.size() * sizeof(uint4));
        run_block(random);
    }
}

}  // namespace cuda_on_host

// Seed of the order in which threads run (0: by index), and the device that launches see.
extern "C" void cuda_on_host_configure(unsigned seed, int multiprocessors, int shared_kilobytes) {
    cuda_on_host::order_seed = seed;
    cuda_on_host::multiprocessors = multiprocessors;
    cuda_on_host::shared_bytes_per_multiprocessor = static_cast<size_t>(shared_kilobytes) * 1024;
}

// Loads through __ldg since the last call.
extern "C" int64_t cuda_on_host_loads() { return std::exchange(cuda_on_host::loads, 0); }
