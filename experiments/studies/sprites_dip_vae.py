"""DIP-VAE-II of rendered sprites: the objective of dip_vae_ii on sprites_beta_vae.

Expect: validation loss 42.9 nats at epoch 5 of 5 (recon 29.24, kl 10.38).
Run: jaxvae train sprites_dip_vae   (107 s on 2 cores of a shared Xeon)
"""

from dataclasses import replace

from jaxvae.runs import load_experiment

of_sprites = load_experiment("sprites_beta_vae")
experiment = replace(
    of_sprites, name="sprites_dip_vae", objective=load_experiment("dip_vae_ii").objective
)
