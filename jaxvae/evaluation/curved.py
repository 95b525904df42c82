"""How curved the decoder is between codes: straight lines and geodesics."""

import jax.numpy as jnp
import numpy as np

from jaxvae.checks import UsageError
from jaxvae.data.preprocess import to_unit
from jaxvae.evaluation.subject import Findings, Subject, mean_of
from jaxvae.evaluation.trained import embed, is_images, of, prepare
from jaxvae.metrics import geometry as measures
from jaxvae.models import decoder_mean

PAIRS = 16  # at most
SEGMENTS = 16


def geometry(subject: Subject) -> Findings:
    """Lengths in the space of examples of straight lines and of geodesics between pairs of codes.

    Examples are distances apart: of images the root of the sum over pixels in [0, 1]. A model that
    knows labels decodes a pair with that of its first.
    """
    trained = subject.trained
    pairs = min(PAIRS, len(subject.split.images) // 2)
    if pairs < 1:
        raise UsageError("one image: a line needs two")
    rng = np.random.default_rng(subject.settings.seed)
    index = rng.permutation(len(subject.split.images))[: 2 * pairs]
    chosen = subject.split.take(index)
    codes = embed(trained, prepare(trained, chosen, index))
    if codes.ndim != 2:
        raise UsageError(f"codes of shape {codes.shape[1:]}: must be vectors")
    if not np.isfinite(codes).all():
        raise UsageError("codes are not finite")
    labels = chosen.every_label[:pairs]

    def decoder(points: int) -> measures.Decoder:
        batch = of(trained, np.repeat(labels, points))

        def decode(z: jnp.ndarray) -> jnp.ndarray:
            decoded = trained.model.apply(trained.variables.model, z, batch, method="decode")
            x = decoder_mean(decoded, trained.model.output)
            return to_unit(trained.experiment.data, x) if is_images(trained) else x

        return decode

    lines = measures.straight(jnp.asarray(codes[:pairs]), jnp.asarray(codes[pairs:]), SEGMENTS)
    found = jnp.asarray(measures.geodesics(decoder(SEGMENTS + 1), lines))
    along = [np.asarray(measures.curve_lengths(decoder(SEGMENTS), x)) for x in (lines, found)]
    ends = np.asarray(measures.lengths(decoder(2), lines[:, [0, -1]]))
    values = mean_of("chord", ends)
    values |= mean_of("straight_length", along[0]) | mean_of("geodesic_length", along[1])
    moved = along[0] > 0
    if moved.any():
        values |= mean_of("length_ratio", along[1][moved] / along[0][moved])
    notes = [
        f"{pairs} pairs of codes of seed {subject.settings.seed}, {SEGMENTS} segments, of the"
        " decoder's mean: off the data this metric is too small, since the variance has no part in"
        " it (Arvanitidis et al. 2018)"
    ]
    if still := int((~moved).sum()):
        notes.append(f"length_ratio: without {still} pairs between which nothing changes")
    return Findings(values, tuple(notes))
