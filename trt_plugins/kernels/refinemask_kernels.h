// C interface of the CUDA kernels. Needs neither TensorRT nor CUDA headers; ctypes can call it with raw pointers.
//
// Every launcher returns a cudaError_t as int (0 is success), queues its work on `stream` (a cudaStream_t) of the
// current device and returns at once: none allocates, copies or synchronises. Pointers are device pointers.
#pragma once

#include <stdint.h>

#define REFINEMASK_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

enum RefinemaskType { REFINEMASK_FLOAT = 0, REFINEMASK_HALF = 1, REFINEMASK_BFLOAT16 = 2 };

enum RefinemaskLayout {
    REFINEMASK_PLANAR = 0,       // [B, C, H, W] and [R, C, P, P] (TensorRT kLINEAR)
    REFINEMASK_INTERLEAVED = 1,  // [B, H, W, C] and [R, P, P, C], C padded to 16 bytes (TensorRT kHWC8), with zeros
                                 // in the output
};

// RoIAlign (half-pixel aligned) of each RoI on the pyramid level that fits its size.
//
// Level i has stride 4 * 2^i. A RoI is pooled from level floor(log2(sqrt(width * height) / finest_scale + 1e-6)),
// clamped to the levels there are. Samples outside a map count as zero; a RoI whose batch index is out of range
// gives zeros. Coordinates and accumulation are float.
//
// The maps may be channels of wider ones, which are read in place: each address is that of the first channel.
// Interleaved maps start at multiples of 16 bytes.
struct RefinemaskRoiAlign {
    const void* features[4];
    int32_t heights[4];
    int32_t widths[4];
    int32_t num_levels;  // 1 to 4
    int32_t type;        // RefinemaskType of features and output
    int32_t layout;      // RefinemaskLayout of features and output
    int32_t batch;
    int32_t channels;
    int32_t map_channels;    // of the maps in memory, in interleaved ones with padding; 0: channels, padded
    const float* rois;       // [R, 5] (batch index, x1, y1, x2, y2)
    int32_t num_rois;        // R; none is no error
    int32_t output_size;     // P
    int32_t sampling_ratio;  // samples per bin and axis; 0 takes ceil of the bin's size
    int32_t finest_scale;
    void* output;
};
REFINEMASK_API int refinemask_roi_align(const struct RefinemaskRoiAlign* problem, void* stream);

// Why the launcher refuses a problem on the current device, in words; null if it does not. Reads no pointer.
REFINEMASK_API const char* refinemask_roi_align_refusal(const struct RefinemaskRoiAlign* problem);

// Exact greedy non-maximum suppression of each group on its own.
//
// A box is suppressed when its IoU with a better kept one is above the threshold. Entries whose score is negative or
// NaN are padding. Of equal scores the lower index comes first. N is at most REFINEMASK_NMS_MAX_BOXES.
#define REFINEMASK_NMS_MAX_BOXES 4096
struct RefinemaskFixedNms {
    const float* boxes;   // [G, N, 4] (x1, y1, x2, y2), 16-byte aligned
    const float* scores;  // [G, N]
    int32_t groups;
    int32_t num_boxes;  // N
    float iou_threshold;
    int32_t k;
    int32_t* indices;   // [G, k], by descending score, 0 past the last
    int32_t* num_kept;  // [G]
    void* workspace;    // refinemask_fixed_nms_workspace bytes, 256-byte aligned
};
REFINEMASK_API int64_t refinemask_fixed_nms_workspace(int32_t groups, int32_t num_boxes);
REFINEMASK_API int refinemask_fixed_nms(const struct RefinemaskFixedNms* problem, void* stream);

// The k largest values of each segment of each row, in descending order; of equal values the lower index comes first.
//
// A row consists of segments one behind the other, which are the same in all rows. NaN is larger than all else. k is at
// most REFINEMASK_TOP_K_MAX and the length of any segment; a row has at most 2^30 values, and there are at most
// REFINEMASK_TOP_K_MAX_GROUPS rows.
#define REFINEMASK_TOP_K_MAX 4096
#define REFINEMASK_TOP_K_MAX_SEGMENTS 8
#define REFINEMASK_TOP_K_MAX_GROUPS 65535
struct RefinemaskTopKSegments {
    const float* values;  // [G, N]
    int32_t groups;
    int32_t num_values;  // N, the sum of the lengths
    int32_t lengths[REFINEMASK_TOP_K_MAX_SEGMENTS];
    int32_t num_segments;  // S, at least 1
    int32_t k;
    float* top_values;            // [S, G, k]
    int64_t* top_indices;         // [S, G, k], counted from the beginning of the segment; or null, and then
    int32_t* narrow_top_indices;  // the same in 32 bits
    void* workspace;              // refinemask_top_k_segments_workspace bytes, 256-byte aligned
};
// Needs no pointer of the problem yet.
REFINEMASK_API int64_t refinemask_top_k_segments_workspace(const struct RefinemaskTopKSegments* problem);
REFINEMASK_API int refinemask_top_k_segments(const struct RefinemaskTopKSegments* problem, void* stream);

// The k anchors of each level of each image that have the largest logits, as boxes: decoded, clipped to the image.
//
// Level i has stride 4 * 2^i. Logits descend as float32; of equal ones the lower index comes first, in the order row,
// column, anchor; NaN is larger than all else. A level with fewer than k anchors is padded: score -1, box zeros. A row
// of an output is one level of one image: row b * 5 + i. k is 1 to REFINEMASK_TOP_K_MAX.
#define REFINEMASK_PROPOSAL_LEVELS 5
struct RefinemaskSelectProposals {
    // [B, 5A, h, w]: the logits of A anchors, then their deltas; channel A + 4a + j is delta j of anchor a.
    const void* maps[REFINEMASK_PROPOSAL_LEVELS];
    int32_t heights[REFINEMASK_PROPOSAL_LEVELS];
    int32_t widths[REFINEMASK_PROPOSAL_LEVELS];
    int32_t type;               // RefinemaskType of the maps
    int32_t layout;             // RefinemaskLayout of the maps
    int32_t batch;              // B; none is no error
    int32_t num_anchors;        // A, of a cell
    const float* base_anchors;  // [5, A, 4] (x1, y1, x2, y2) around a cell at (0, 0), 16-byte aligned
    const float* image_sizes;   // [B, 2] (height, width)
    int32_t k;
    float* boxes;     // [5B, k, 4] (x1, y1, x2, y2), 16-byte aligned
    float* scores;    // [5B, k], the logits' sigmoids
    void* workspace;  // refinemask_select_proposals_workspace bytes, 256-byte aligned
};
// Neither needs a pointer of the problem yet. A refusal says in words why the launcher refuses a problem; null if it
// does not.
REFINEMASK_API int64_t refinemask_select_proposals_workspace(const struct RefinemaskSelectProposals* problem);
REFINEMASK_API const char* refinemask_select_proposals_refusal(const struct RefinemaskSelectProposals* problem);
REFINEMASK_API int refinemask_select_proposals(const struct RefinemaskSelectProposals* problem, void* stream);

// Boundary-aware refinement of one stage by the next: the fine logits near the boundary of the coarse mask, the
// coarse logits (bilinear, corners aligned) elsewhere.
struct RefinemaskBoundaryMerge {
    const float* coarse;  // [R, n, n]
    const float* fine;    // [R, 2n, 2n]
    float* output;        // [R, 2n, 2n]
    int32_t num_rois;     // R; none is no error
    int32_t size;         // n, at most 1024
};
REFINEMASK_API int refinemask_boundary_merge(const struct RefinemaskBoundaryMerge* problem, void* stream);

// Logits of each RoI's label: at each pixel the product of its features with the label's row of weights, plus the bias.
//
// With masks, the features are upsampled to twice the size (bilinear, half-pixel centres) and the masks' channels are
// the last columns of the weights: the product is upsampled instead of the features. A label past the last row takes
// the last one, and a negative one the first. Sums are float.
struct RefinemaskLabelLogits {
    const void* features;   // [R, C, s, s]
    const void* masks;      // [R, M, 2s, 2s], planar
    const void* weight;     // [n, C + M]
    const void* bias;       // [n]
    const int32_t* labels;  // [R]
    float* output;          // [R, s, s], or with masks [R, 2s, 2s]
    int32_t type;           // RefinemaskType of features, masks, weight and bias
    int32_t layout;         // RefinemaskLayout of the features
    int32_t num_rois;       // R; none is no error
    int32_t channels;       // C; C + M is at most 4096
    int32_t mask_channels;  // M; 0: there are no masks
    int32_t num_rows;       // n, at least 1
    int32_t size;           // s, at most 1024
};
REFINEMASK_API int refinemask_label_logits(const struct RefinemaskLabelLogits* problem, void* stream);

// Where the runs of pasted masks end: column-major pixel indices, ascending, of background and foreground in turn.
//
// The value of a pixel is the bilinear sample of the mask at the pixel's centre, zero outside the mask; foreground is
// at least one half. The last run ends with the image; the first is empty where the first pixel is foreground. Runs for
// which there is no room are counted all the same. The image has less than 2^31 pixels, its sides at most 2^24.
#define REFINEMASK_NOT_FINITE -1
struct RefinemaskPasteRuns {
    const float* masks;        // [N, rows, columns] probabilities
    const float* boxes;        // [N, 4] (x1, y1, x2, y2) in pixels of the image times `scale`
    const int64_t* num_valid;  // one number: masks from there on have no runs; null where all are valid
    int32_t num_masks;         // N; none is no error
    int32_t rows;
    int32_t columns;
    float scale[4];
    int32_t height;  // of the image
    int32_t width;
    int32_t capacity;   // runs of a mask that there is room for
    int32_t* ends;      // [N, capacity]
    int32_t* num_runs;  // [N]; REFINEMASK_NOT_FINITE where a value of the mask or its box is not finite
};
REFINEMASK_API int refinemask_paste_runs(const struct RefinemaskPasteRuns* problem, void* stream);

// COCO's compressed run-length strings of runs, one right behind the other.
//
// A mask that has no runs, or whose runs had no room, has no string. What lies beyond the room for strings is counted
// all the same. N * capacity * REFINEMASK_RUN_MAX_BYTES is less than 2^31.
#define REFINEMASK_RUN_MAX_BYTES 7
struct RefinemaskRleStrings {
    const int32_t* ends;      // [N, capacity]
    const int32_t* num_runs;  // [N]
    int32_t num_masks;        // N; none is no error
    int32_t capacity;
    int32_t* num_bytes;        // [N]
    uint8_t* strings;
    int64_t string_capacity;  // bytes of all strings that there is room for
};
REFINEMASK_API int refinemask_rle_strings(const struct RefinemaskRleStrings* problem, void* stream);

REFINEMASK_API const char* refinemask_error_string(int error);

#ifdef __cplusplus
}
#endif
