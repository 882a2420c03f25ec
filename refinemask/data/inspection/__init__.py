"""What is in a data set, and what training would lose of it. Imports no PyTorch."""
