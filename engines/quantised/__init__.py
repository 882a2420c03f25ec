"""The same numbers of a quantised file, written as the integer kernels of CPUs like them."""
