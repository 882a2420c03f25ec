// The kernels' arithmetic as plain functions, for tests.
#include "boundary.h"
#include "iou.h"
#include "sampling.h"

extern "C" {

int host_roi_level(const float* box, int finest_scale, int num_levels) {
    return refinemask::roi_level(box[0], box[1], box[2], box[3], finest_scale, num_levels);
}

// Dense weights [bins, extent] of one axis, and in `counts` [bins] the number of taps of each bin.
void host_axis_weights(float low, float high, int level, int extent, int bins, int sampling_ratio, double* weights,
                       int* counts) {
    const auto axis = refinemask::make_axis(low, high, level, extent, bins, sampling_ratio);
    for (int bin = 0; bin < bins; ++bin) {
        counts[bin] = 0;
        refinemask::for_each_tap(axis, bin, [&](int index, float weight) {
            weights[bin * extent + index] += weight;
            ++counts[bin];
        });
    }
}

int host_max_taps(int extent, int bins, int sampling_ratio) {
    return refinemask::max_taps(extent, bins, sampling_ratio);
}

int host_overlaps(const float* a, const float* b, float threshold) {
    return refinemask::overlaps({a[0], a[1], a[2], a[3]}, {b[0], b[1], b[2], b[3]}, threshold);
}

uint64_t host_sort_key(float score, int index) { return refinemask::sort_key(score, index); }

// Whether output pixel (y, x) of an upsampled 0/1 map [n, n] is at least a half.
int host_at_least_half(const int* map, int n, int output_y, int output_x) {
    const auto y = refinemask::between(output_y, n), x = refinemask::between(output_x, n);
    return refinemask::at_least_half(2 * n - 1, y, x, map[y.low * n + x.low], map[y.low * n + x.high],
                                     map[y.high * n + x.low], map[y.high * n + x.high]);
}

int host_quotient(int n, int divisor) { return refinemask::Divisor(divisor).quotient(n); }
}
