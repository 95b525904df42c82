"""PyTorch reference models, and the comparison of jaxvae with them.

Nothing else in the project imports torch; it comes with the extra `jaxvae[parity]`.
"""
