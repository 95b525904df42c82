"""The variants of the VAE in experiments/variants: PyTorch models, and ours against them."""
