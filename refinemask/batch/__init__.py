"""Batch jobs over any number of images, which go on where they stopped: ``python -m refinemask.batch``.

Importing it loads neither Ray nor PyArrow.
"""
