"""The ranges of the tensors that a quantised file rounds: images are chosen, run, counted in bins, and judged."""
