"""Mask R-CNN here and in torchvision: ``python -m benchmarks.peers``."""
