"""The evaluators that ``python -m benchmarks.evaluation`` compares, a module each.

A module has one function: ``figures(annotations, results, iou_types, max_detections)``. It reads two JSON files, those
of the annotations and of the results in COCO's formats, and returns the figures of each kind of overlap by name.
"""
