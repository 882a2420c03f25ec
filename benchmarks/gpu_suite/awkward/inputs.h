// Values, boxes and uses of RoIAlign that are hard on the kernels.
#pragma once

#include <cmath>
#include <random>
#include <utility>
#include <vector>

namespace awkward {

inline float uniform(float low, float high) {
    static std::mt19937 generator(1);
    return std::uniform_real_distribution<float>(low, high)(generator);
}

inline std::vector<float> uniforms(size_t count, float low, float high) {
    std::vector<float> values(count);
    for (float& value : values) {
        value = uniform(low, high);
    }
    return values;
}

inline bool all_finite(const std::vector<float>& values) {
    for (const float value : values) {
        if (!std::isfinite(value)) {
            return false;
        }
    }
    return true;
}

// Boxes (x1, y1, x2, y2): usual ones, and among them such as have no area, no order, no finite or no sensible sides.
inline std::vector<float> make_boxes(int count, float width, float height) {
    std::vector<float> boxes;
    for (int i = 0; i < count; ++i) {
        float x1 = uniform(-20.0f, width), y1 = uniform(-20.0f, height);
        float x2 = x1 + uniform(0.0f, width), y2 = y1 + uniform(0.0f, height);
        switch (i % 11) {
            case 3: x2 = x1; break;
            case 5: std::swap(x1, x2); break;
            case 7: y1 = NAN; break;
            case 8: x1 = -INFINITY, x2 = INFINITY; break;
            case 9: x1 = y1 = 0.0f, x2 = width, y2 = height; break;
            case 10: x1 = -1e9f, x2 = 1e9f; break;
        }
        boxes.insert(boxes.end(), {x1, y1, x2, y2});
    }
    return boxes;
}

// RoIs (batch index, x1, y1, x2, y2), some of them of no image; or the whole image each time.
inline std::vector<float> make_rois(int count, int batch, float width, float height, bool whole_image) {
    const std::vector<float> boxes = make_boxes(count, width, height);
    std::vector<float> rois;
    for (int i = 0; i < count; ++i) {
        const float image = i % 13 == 12 ? -1.0f : i % 13 == 11 ? 1e9f : static_cast<float>(i % batch);
        if (whole_image) {
            rois.insert(rois.end(), {0.0f, 0.0f, 0.0f, width, height});
        } else {
            rois.push_back(image);
            rois.insert(rois.end(), boxes.begin() + 4 * i, boxes.begin() + 4 * i + 4);
        }
    }
    return rois;
}

// A use of RoIAlign; the height and width are those of the finest map.
struct Pooling {
    const char* name;
    int levels, batch, channels, height, width, rois, output_size, sampling_ratio;
    bool whole_image;
    int map_channels;  // 0: dense
};

constexpr Pooling kPoolings[] = {
    {"odd sizes", 4, 2, 24, 37, 53, 29, 7, 0, false, 0},
    {"usual", 4, 1, 64, 48, 64, 40, 14, 0, false, 0},
    {"one channel", 1, 1, 1, 50, 84, 33, 28, 0, false, 0},
    {"odd channels and widths", 1, 2, 13, 50, 83, 33, 14, 2, false, 0},
    {"large output", 1, 1, 64, 50, 84, 20, 56, 0, false, 0},
    {"largest output", 1, 1, 16, 20, 28, 5, 128, 0, false, 0},
    {"shared rows", 1, 1, 64, 50, 84, 35, 28, 0, true, 0},
    {"shared rows of odd channels", 1, 1, 13, 50, 83, 35, 7, 0, true, 0},
    {"one cell", 1, 1, 8, 1, 1, 5, 7, 0, false, 0},
    {"no RoI", 4, 1, 8, 16, 16, 0, 7, 0, false, 0},
    {"slices of a pyramid", 4, 2, 24, 37, 53, 29, 7, 0, false, 64},
    {"slice of one map", 1, 1, 64, 50, 84, 20, 28, 0, false, 448},
    {"slice of one map, shared rows", 1, 1, 64, 50, 84, 35, 28, 0, true, 448},
    {"slice of one channel", 1, 2, 1, 50, 83, 33, 14, 2, false, 16},
};

// A use of the selection of proposals; the height and width are those of the finest map.
struct Pyramid {
    const char* name;
    int batch, height, width, num_anchors, k;
};

constexpr Pyramid kPyramids[] = {
    {"usual", 2, 40, 61, 3, 100},
    {"a long level", 1, 63, 85, 3, 1000},
    {"one anchor", 3, 13, 7, 1, 1},
    {"fewer than wanted", 2, 5, 3, 7, 600},
    {"no image", 0, 8, 8, 3, 10},
};

}  // namespace awkward
