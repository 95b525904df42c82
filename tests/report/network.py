"""The network in a page beside JAX's."""

import numpy as np

from jaxvae.evaluation import decode, embed, prepare
from jaxvae.evaluation.trained import gaussian_posterior
from tests.report import made


def decoded(page, z, label=-1):
    """What the page's network makes of a code."""
    call = "([z, label]) => Array.from(report.model.decode(Float32Array.from(z), label))"
    return np.array(page.evaluate(call, [np.ravel(z).tolist(), label]))


def encoded(page, image, label=-1):
    call = """([x, label]) => {
      const found = report.model.encode(Float32Array.from(x), label);
      return [Array.from(found.mean), found.logvar && Array.from(found.logvar)];
    }"""
    return page.evaluate(call, [np.ravel(image).tolist(), label])


def compare(page, trained, split, label=False):
    """The browser's network is JAX's with the same rounded kernels, and nearly the model's own."""
    batch = prepare(trained, split.take(np.arange(4)))
    same = made.rounded(trained)
    codes = embed(same, batch)
    for i, z in enumerate(np.concatenate([codes, codes + 0.5])):
        of = int(batch.label[i % 4]) if label else -1
        found = decoded(page, z, of)
        np.testing.assert_allclose(found, decode(same, z[None], [of]).ravel(), atol=1e-3)
        np.testing.assert_allclose(found, decode(trained, z[None], [of]).ravel(), atol=1e-2)
    if trained.info.maximum is None:
        return
    for i in range(4):
        x = np.asarray(split.images[i], np.float32) / 255
        mean, logvar = encoded(page, x, int(batch.label[i]) if label else -1)
        np.testing.assert_allclose(mean, codes[i].ravel(), atol=1e-3)
        np.testing.assert_allclose(mean, embed(trained, batch)[i].ravel(), atol=1e-2)
        if logvar is not None:
            exact, own = (gaussian_posterior(each, batch)[1][i] for each in (same, trained))
            np.testing.assert_allclose(logvar, exact, atol=1e-3)
            np.testing.assert_allclose(logvar, own, atol=1e-2)
