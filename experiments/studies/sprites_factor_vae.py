"""FactorVAE of rendered sprites: the objective of factor_vae on data and model of sprites_beta_vae.

Expect: validation loss 40.6 nats at epoch 3 of 5 (recon 28.95, kl 11.56, tc 0.01), MIG 0.08.
Run: jaxvae train sprites_factor_vae   (24 s on 2 cores of an Intel Xeon)
Study: 12 members of 3000 steps, MIG by gamma (docs/evaluation.md):
    jaxvae study sprites_factor_vae --sweep objective.gamma=5,10,20,40 --seeds 3
    --metrics disentanglement --out runs/study_factor
"""

from dataclasses import replace

from jaxvae.runs import load_experiment

of_sprites = load_experiment("sprites_beta_vae")
experiment = replace(
    of_sprites, name="sprites_factor_vae", objective=load_experiment("factor_vae").objective
)
