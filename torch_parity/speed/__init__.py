"""How fast jaxvae trains, side by side with PyTorch: `python -m torch_parity.speed`."""
