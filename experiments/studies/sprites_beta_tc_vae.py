"""A beta-TCVAE of rendered sprites: the objective of beta_tc_vae on sprites_beta_vae.

Study: docs/evaluation.md.
"""

from dataclasses import replace

from jaxvae.runs import load_experiment

of_sprites = load_experiment("sprites_beta_vae")
experiment = replace(
    of_sprites, name="sprites_beta_tc_vae", objective=load_experiment("beta_tc_vae").objective
)
