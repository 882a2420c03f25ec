"""A folder from which DeepStream's ``nvinfer`` runs an exported file: ``python -m engines.deepstream``."""
