"""A detector compiled ahead of time by PyTorch (AOTInductor), with our kernels and CUDA graphs: a fast GPU engine
that needs no TensorRT.
"""
