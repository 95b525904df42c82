"""A beta-TCVAE of rendered sprites: the objective of beta_tc_vae on sprites_beta_vae.

Expect: validation loss 527.8 nats at epoch 5 of 5 (recon 38.31, kl 6.09).
Run: jaxvae train sprites_beta_tc_vae   (127 s on 2 cores of a shared Xeon)
"""

from dataclasses import replace

from jaxvae.runs import load_experiment

of_sprites = load_experiment("sprites_beta_vae")
experiment = replace(
    of_sprites, name="sprites_beta_tc_vae", objective=load_experiment("beta_tc_vae").objective
)
