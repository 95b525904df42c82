"""The variants of the family: PyTorch models, and ours against them."""
