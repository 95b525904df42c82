"""Published variants, each an objective, or a model with a bottleneck of its own.

kl: a weight, a target or a schedule of the KL. samples: bounds of several samples. aggregated,
adversarial: what presses on the aggregated posterior. codebooks, categorical: codes from a list.
labels: models that are told a class. The formulas are
in `jaxvae.objectives`, the bottlenecks in `jaxvae.models`; an experiment in `experiments/` gives
each its settings, and a number to expect.
"""
