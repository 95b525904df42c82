"""Weights of PyTorch models, to our runs and back. PyTorch itself is imported only where needed."""
