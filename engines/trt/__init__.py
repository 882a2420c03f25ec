"""TensorRT: building engines of exported files, and running them."""
