"""Images of any number from a source to predictions, with decoding, the network and pasting side by side."""
