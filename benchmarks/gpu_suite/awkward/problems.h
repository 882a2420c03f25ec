// Problems of every kernel on the device.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "device.h"
#include "inputs.h"
#include "memory.h"
#include "refinemask_kernels.h"

namespace awkward {

// All problems on the device. They are made before the first launch: a capture allows no allocation.
class Problems : private DeviceMemory {
public:
    Problems() {
        read_all<float>(REFINEMASK_FLOAT, "float");
        read_all<__half>(REFINEMASK_HALF, "half");
        read_all<__nv_bfloat16>(REFINEMASK_BFLOAT16, "bfloat16");
        for (const int boxes : {0, 1, 63, 64, 65, 1000, 2000, 3840, 4096}) {
            suppress(3, boxes, 100, boxes % 2 == 0);
            suppress(1, boxes, boxes + 1, boxes % 2 == 1);
        }
        for (const int values : {1, 31, 5120, 5121, 6144, 80000}) {
            select(3, {values}, std::min(values, 4096));
            select(1, {values}, 1);
        }
        select(0, {6000}, 10);
        select(2, {5120, 31, 2048}, 31);
        select(2, {1000, 2049, 80000, 2047, 6144, 1001, 2048, 4096}, 1000);
        for (const int size : {1, 7, 14, 28, 56, 101, 224}) {
            merge(3, size);
        }
        merge(0, 28);
        predict_all<float>(REFINEMASK_FLOAT);
        predict_all<__half>(REFINEMASK_HALF);
        predict_all<__nv_bfloat16>(REFINEMASK_BFLOAT16);
        for (const int capacity : {1, 64, 4096}) {
            paste(9, 28, 28, 37, 53, capacity, true);
            paste(23, 112, 112, 480, 640, capacity, false);
            paste(5, 7, 3, 1, 1, capacity, false);
            paste(0, 28, 28, 37, 53, capacity, false);
        }
    }
    void launch(cudaStream_t stream) const {
        for (const auto& [name, launch] : launches_) {
            expect_success(launch(stream), name);
        }
    }
    void check() const {
        for (const auto& check : checks_) {
            check();
        }
    }

private:
    template <typename Launch, typename Check>
    void add(const std::string& name, Launch launch, Check check) {
        launches_.emplace_back(name, launch);
        checks_.push_back([name, check] { expect(check(), name + ": wrong values"); });
    }

    // What reads maps of a type.
    template <typename T>
    void read_all(RefinemaskType type, const std::string& type_name) {
        for (const Pooling& use : kPoolings) {
            const int planes = use.map_channels ? use.map_channels : use.channels;
            pool<T>(use, type, REFINEMASK_PLANAR, use.channels, planes, type_name + ", planar");
            const int padded = refinemask::round_up(use.channels, 16 / sizeof(T));
            const int stride = use.map_channels ? use.map_channels : padded;
            pool<T>(use, type, REFINEMASK_INTERLEAVED, padded, stride, type_name + ", interleaved");
        }
        for (const Pyramid& use : kPyramids) {
            propose<T>(use, type, REFINEMASK_PLANAR, type_name + ", planar");
            propose<T>(use, type, REFINEMASK_INTERLEAVED, type_name + ", interleaved");
        }
    }

    // Without addresses.
    static RefinemaskRoiAlign shapes(const Pooling& use, RefinemaskType type, RefinemaskLayout layout) {
        RefinemaskRoiAlign problem{};
        for (int i = 0; i < use.levels; ++i) {
            problem.heights[i] = std::max(use.height >> i, 1);
            problem.widths[i] = std::max(use.width >> i, 1);
        }
        problem.num_levels = use.levels;
        problem.type = type;
        problem.layout = layout;
        problem.batch = use.batch;
        problem.channels = use.channels;
        problem.map_channels = use.map_channels;
        problem.num_rois = use.rois;
        problem.output_size = use.output_size;
        problem.sampling_ratio = use.sampling_ratio;
        problem.finest_scale = 56;
        return problem;
    }

    template <typename T>
    void pool(const Pooling& use, RefinemaskType type, RefinemaskLayout layout, int stored_channels, int stride,
              const std::string& kind) {
        RefinemaskRoiAlign problem = shapes(use, type, layout);
        for (int i = 0; i < use.levels; ++i) {
            const size_t cells = static_cast<size_t>(use.batch) * problem.heights[i] * problem.widths[i];
            const size_t plane = static_cast<size_t>(problem.heights[i]) * problem.widths[i];
            problem.features[i] = layout == REFINEMASK_PLANAR
                                      ? upload(planar_map<T>(use.batch, plane, use.channels, stride)) +
                                            plane * (stride - use.channels)
                                      : upload(wide_map<T>(cells, use.channels, stored_channels, stride)) +
                                            (stride - stored_channels);
        }
        const float width = 4.0f * use.width, height = 4.0f * use.height;
        const size_t bins = static_cast<size_t>(use.output_size) * use.output_size;
        const size_t count = use.rois * bins * stored_channels;
        T* const output = reserve<T>(count);
        problem.output = output;
        problem.rois = upload(make_rois(use.rois, use.batch, width, height, use.whole_image));
        add(
            std::string("RoIAlign, ") + use.name + ", " + kind,
            [problem](cudaStream_t stream) { return refinemask_roi_align(&problem, stream); },
            [output, count] {
                std::vector<float> values;
                for (const T& value : download(output, count)) {
                    values.push_back(refinemask::to_float(value));
                }
                return all_finite(values);
            });
    }

    // The last `channels` of the `planes` of each image; the others are NaN.
    template <typename T>
    static std::vector<T> planar_map(int batch, size_t plane, int channels, int planes) {
        std::vector<T> values(batch * planes * plane, refinemask::from_float<T>(NAN));
        for (size_t place = 0; place < values.size(); ++place) {
            if (place / plane % planes >= static_cast<size_t>(planes - channels)) {
                values[place] = refinemask::from_float<T>(uniform(-1.0f, 1.0f));
            }
        }
        return values;
    }
    // The last `stored_channels` of each cell; whatever is no channel is NaN.
    template <typename T>
    static std::vector<T> wide_map(size_t cells, int channels, int stored_channels, int stride) {
        std::vector<T> values(cells * stride, refinemask::from_float<T>(NAN));
        for (size_t cell = 0; cell < cells; ++cell) {
            for (int channel = 0; channel < channels; ++channel) {
                const size_t place = cell * stride + stride - stored_channels + channel;
                values[place] = refinemask::from_float<T>(uniform(-1.0f, 1.0f));
            }
        }
        return values;
    }

    void suppress(int groups, int num_boxes, int k, bool ordered) {
        const size_t count = static_cast<size_t>(groups) * num_boxes;
        std::vector<float> scores = uniforms(count, -0.2f, 1.0f);
        for (size_t i = 0; i < count; ++i) {
            if (ordered) {
                scores[i] = 1.0f - static_cast<float>(i % num_boxes) / static_cast<float>(num_boxes + 1);
            } else if (i % 17 == 0) {
                scores[i] = NAN;
            }
        }
        RefinemaskFixedNms problem{};
        problem.boxes = upload(make_boxes(static_cast<int>(count), 400.0f, 300.0f));
        problem.scores = upload(scores);
        problem.groups = groups;
        problem.num_boxes = num_boxes;
        problem.iou_threshold = 0.5f;
        problem.k = k;
        problem.indices = reserve<int32_t>(static_cast<size_t>(groups) * k);
        problem.num_kept = reserve<int32_t>(groups);
        problem.workspace = reserve<unsigned char>(refinemask_fixed_nms_workspace(groups, num_boxes));
        add(
            "NMS of " + std::to_string(groups) + " x " + std::to_string(num_boxes),
            [problem](cudaStream_t stream) { return refinemask_fixed_nms(&problem, stream); },
            [problem] {
                bool holds = true;
                for (const int32_t index : download(problem.indices, static_cast<size_t>(problem.groups) * problem.k)) {
                    holds = holds && index >= 0 && index < std::max(problem.num_boxes, 1);
                }
                for (const int32_t kept : download(problem.num_kept, problem.groups)) {
                    holds = holds && kept >= 0 && kept <= std::min(problem.num_boxes, problem.k);
                }
                return holds;
            });
    }

    // Steps of 1/50, so that many values are equal, and a few that are not finite.
    void select(int groups, const std::vector<int>& lengths, int k) {
        RefinemaskTopKSegments problem{};
        problem.groups = groups;
        problem.num_values = std::accumulate(lengths.begin(), lengths.end(), 0);
        std::copy(lengths.begin(), lengths.end(), problem.lengths);
        problem.num_segments = static_cast<int>(lengths.size());
        problem.k = k;
        std::vector<float> values = uniforms(static_cast<size_t>(groups) * problem.num_values, -1.0f, 1.0f);
        for (size_t i = 0; i < values.size(); ++i) {
            values[i] = i % 97 == 3 ? NAN : i % 89 == 5 ? -INFINITY : std::round(values[i] * 50.0f) / 50.0f;
        }
        const size_t count = lengths.size() * groups * k;
        problem.values = upload(values);
        problem.top_values = reserve<float>(count);
        problem.top_indices = reserve<int64_t>(count);
        problem.workspace = reserve<unsigned char>(refinemask_top_k_segments_workspace(&problem));
        add(
            "best " + std::to_string(k) + " of " + std::to_string(groups) + " x " + std::to_string(problem.num_values) +
                " in " + std::to_string(lengths.size()),
            [problem](cudaStream_t stream) { return refinemask_top_k_segments(&problem, stream); },
            [problem, values, count] { return are_best(problem, values, download(problem.top_indices, count)); });
    }
    static bool are_best(const RefinemaskTopKSegments& problem, const std::vector<float>& values,
                         const std::vector<int64_t>& indices) {
        bool holds = true;
        auto found = indices.begin();
        for (int segment = 0, begin = 0; segment < problem.num_segments; begin += problem.lengths[segment++]) {
            for (int group = 0; group < problem.groups; ++group, found += problem.k) {
                const auto row = values.begin() + static_cast<int64_t>(group) * problem.num_values + begin;
                const auto expected = best(row, problem.lengths[segment], problem.k);
                holds = holds && std::equal(expected.begin(), expected.end(), found);
            }
        }
        return holds;
    }
    // The indices of the best values, by definition.
    static std::vector<int64_t> best(std::vector<float>::const_iterator values, int length, int k) {
        std::vector<int64_t> order(length);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [values](int64_t a, int64_t b) {
            return std::isnan(values[a]) ? !std::isnan(values[b]) : values[a] > values[b];
        });
        order.resize(k);
        return order;
    }

    template <typename T>
    void propose(const Pyramid& use, RefinemaskType type, RefinemaskLayout layout, const std::string& kind) {
        const bool planar = layout == REFINEMASK_PLANAR;
        const int channels = 5 * use.num_anchors, stride = refinemask::round_up(channels, 16 / sizeof(T));
        const size_t results = static_cast<size_t>(use.batch) * REFINEMASK_PROPOSAL_LEVELS * use.k;
        const float height = 3.5f * use.height, width = 3.5f * use.width;
        std::vector<float> expected(results, -1.0f), image_sizes;
        RefinemaskSelectProposals problem{};
        for (int level = 0; level < REFINEMASK_PROPOSAL_LEVELS; ++level) {
            problem.heights[level] = std::max(use.height >> level, 1);
            problem.widths[level] = std::max(use.width >> level, 1);
            const size_t cells = static_cast<size_t>(problem.heights[level]) * problem.widths[level];
            const std::vector<T> map = planar ? planar_map<T>(use.batch * cells * channels)
                                              : wide_map<T>(use.batch * cells, channels, stride, stride);
            problem.maps[level] = upload(map);
            for (int image = 0; image < use.batch; ++image) {
                std::vector<float> logits;
                for (size_t i = 0; i < cells * use.num_anchors; ++i) {
                    const size_t cell = i / use.num_anchors, anchor = i % use.num_anchors;
                    logits.push_back(refinemask::to_float(map[planar ? (image * channels + anchor) * cells + cell
                                                                     : (image * cells + cell) * stride + anchor]));
                }
                const int count = static_cast<int>(logits.size());
                auto score = expected.begin() + (image * REFINEMASK_PROPOSAL_LEVELS + level) * use.k;
                for (const int64_t index : best(logits.begin(), count, std::min(count, use.k))) {
                    *score++ = 1.0f / (1.0f + std::exp(-logits[index]));
                }
            }
        }
        for (int image = 0; image < use.batch; ++image) {
            image_sizes.insert(image_sizes.end(), {height, width});
        }
        problem.type = type;
        problem.layout = layout;
        problem.batch = use.batch;
        problem.num_anchors = use.num_anchors;
        problem.k = use.k;
        problem.base_anchors = upload(uniforms(REFINEMASK_PROPOSAL_LEVELS * 4 * use.num_anchors, -50.0f, 50.0f));
        problem.image_sizes = upload(image_sizes);
        problem.boxes = reserve<float>(4 * results);
        problem.scores = reserve<float>(results);
        problem.workspace = reserve<unsigned char>(refinemask_select_proposals_workspace(&problem));
        add(
            std::string("proposals, ") + use.name + ", " + kind,
            [problem](cudaStream_t stream) { return refinemask_select_proposals(&problem, stream); },
            [problem, expected, most = std::max(height, width)] {
                return are_close(download(problem.scores, expected.size()), expected) &&
                       are_inside(download(problem.boxes, 4 * expected.size()), most);
            });
    }
    static bool are_close(const std::vector<float>& values, const std::vector<float>& expected) {
        return std::equal(values.begin(), values.end(), expected.begin(),
                          [](float a, float b) { return std::abs(a - b) < 1e-6f; });
    }
    static bool are_inside(const std::vector<float>& sides, float most) {
        return std::all_of(sides.begin(), sides.end(), [most](float side) { return side >= 0.0f && side <= most; });
    }

    void merge(int num_rois, int size) {
        const size_t count = static_cast<size_t>(num_rois) * size * size;
        RefinemaskBoundaryMerge problem{};
        problem.coarse = upload(uniforms(count, -1.0f, 1.0f));
        problem.fine = upload(uniforms(4 * count, -1.0f, 1.0f));
        problem.output = reserve<float>(4 * count);
        problem.num_rois = num_rois;
        problem.size = size;
        add(
            "merge of " + std::to_string(num_rois) + " x " + std::to_string(size),
            [problem](cudaStream_t stream) { return refinemask_boundary_merge(&problem, stream); },
            [problem, count] { return all_finite(download(problem.output, 4 * count)); });
    }

    template <typename T>
    void predict_all(RefinemaskType type) {
        for (const RefinemaskLayout layout : {REFINEMASK_PLANAR, REFINEMASK_INTERLEAVED}) {
            for (const int mask_channels : {0, 2}) {
                predict<T>(type, layout, 3, 24, mask_channels, 14);
                predict<T>(type, layout, 2, 13, mask_channels, 101);
                predict<T>(type, layout, 2, 320, mask_channels, 1);
                predict<T>(type, layout, 0, 8, mask_channels, 7);
            }
        }
    }

    // Some labels have no row.
    template <typename T>
    void predict(RefinemaskType type, RefinemaskLayout layout, int num_rois, int channels, int mask_channels,
                 int size) {
        const size_t pixels = static_cast<size_t>(num_rois) * size * size;
        const size_t count = pixels * (mask_channels > 0 ? 4 : 1);
        const int stored = layout == REFINEMASK_PLANAR ? channels : refinemask::round_up(channels, 16 / sizeof(T));
        RefinemaskLabelLogits problem{};
        problem.num_rows = 3;
        problem.features = upload(wide_map<T>(pixels, channels, stored, stored));
        problem.masks = upload(planar_map<T>(count * mask_channels));
        problem.weight = upload(planar_map<T>(problem.num_rows * (channels + mask_channels)));
        problem.bias = upload(planar_map<T>(problem.num_rows));
        const std::vector<int32_t> labels{-1, 2, 1000000};
        problem.labels = upload(std::vector<int32_t>(labels.begin(), labels.begin() + num_rois));
        problem.output = reserve<float>(count);
        problem.type = type;
        problem.layout = layout;
        problem.num_rois = num_rois;
        problem.channels = channels;
        problem.mask_channels = mask_channels;
        problem.size = size;
        add(
            "logits of " + std::to_string(num_rois) + " x " + std::to_string(channels) + " + " +
                std::to_string(mask_channels) + " x " + std::to_string(size) + ", type " + std::to_string(type) +
                ", layout " + std::to_string(layout),
            [problem](cudaStream_t stream) { return refinemask_label_logits(&problem, stream); },
            [problem, count] { return all_finite(download(problem.output, count)); });
    }

    // Noise, which has more runs than there may be room for, and one mask that is not finite.
    void paste(int num_masks, int rows, int columns, int height, int width, int capacity, bool some_valid) {
        std::vector<float> masks = uniforms(static_cast<size_t>(num_masks) * rows * columns, 0.0f, 1.0f);
        if (num_masks > 2) {
            masks[2 * rows * columns] = NAN;
        }
        const int64_t valid = num_masks - 3;
        const size_t runs = static_cast<size_t>(num_masks) * capacity;
        RefinemaskPasteRuns pasted{};
        pasted.masks = upload(masks);
        pasted.boxes = upload(make_boxes(num_masks, 2.0f * width, 2.0f * height));
        pasted.num_valid = some_valid ? upload(std::vector<int64_t>{valid}) : nullptr;
        pasted.num_masks = num_masks;
        pasted.rows = rows;
        pasted.columns = columns;
        std::fill(pasted.scale, pasted.scale + 4, 2.0f);
        pasted.height = height;
        pasted.width = width;
        pasted.capacity = capacity;
        pasted.ends = reserve<int32_t>(runs);
        pasted.num_runs = reserve<int32_t>(num_masks);
        RefinemaskRleStrings strings{};
        strings.ends = pasted.ends;
        strings.num_runs = pasted.num_runs;
        strings.num_masks = num_masks;
        strings.capacity = capacity;
        strings.num_bytes = reserve<int32_t>(num_masks);
        strings.string_capacity = static_cast<int64_t>(runs);  // a byte a run, which is not enough
        strings.strings = reserve<uint8_t>(runs);
        add(
            "paste of " + std::to_string(num_masks) + " in " + std::to_string(capacity) + " runs",
            [pasted, strings](cudaStream_t stream) {
                const int error = refinemask_paste_runs(&pasted, stream);
                return error ? error : refinemask_rle_strings(&strings, stream);
            },
            [pasted, strings] { return are_runs(pasted) && are_lengths(strings); });
    }

    // Whether the runs that have room ascend, and end with the image.
    static bool are_runs(const RefinemaskPasteRuns& pasted) {
        const auto ends = download(pasted.ends, static_cast<size_t>(pasted.num_masks) * pasted.capacity);
        const auto counts = download(pasted.num_runs, pasted.num_masks);
        bool holds = true;
        for (int mask = 0; mask < pasted.num_masks; ++mask) {
            holds = holds && counts[mask] >= REFINEMASK_NOT_FINITE;
            for (int run = 0; counts[mask] <= pasted.capacity && run < counts[mask]; ++run) {
                const int32_t* const end = &ends[static_cast<size_t>(mask) * pasted.capacity + run];
                const bool last = run == counts[mask] - 1;
                holds = holds && (run == 0 ? *end >= 0 : *end > end[-1]) &&
                        (last ? *end == pasted.height * pasted.width : *end < pasted.height * pasted.width);
            }
        }
        return holds;
    }
    static bool are_lengths(const RefinemaskRleStrings& strings) {
        bool holds = true;
        for (const int32_t bytes : download(strings.num_bytes, strings.num_masks)) {
            holds = holds && bytes >= 0 && bytes <= strings.capacity * REFINEMASK_RUN_MAX_BYTES;
        }
        return holds;
    }

    std::vector<std::pair<std::string, std::function<int(cudaStream_t)>>> launches_;
    std::vector<std::function<void()>> checks_;
};

}  // namespace awkward
