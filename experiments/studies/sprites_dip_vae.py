"""DIP-VAE-II of rendered sprites: the objective of dip_vae_ii on sprites_beta_vae.

Study: docs/evaluation.md.
"""

from dataclasses import replace

from jaxvae.runs import load_experiment

of_sprites = load_experiment("sprites_beta_vae")
experiment = replace(
    of_sprites, name="sprites_dip_vae", objective=load_experiment("dip_vae_ii").objective
)
