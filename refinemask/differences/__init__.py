"""Where two sets of masks of the same images differ most, and pictures of it. Imports no PyTorch."""
