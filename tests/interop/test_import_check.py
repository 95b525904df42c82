"""--check: the imported model's reconstructions are the PyTorch model's, or nothing is written."""

from dataclasses import replace

import numpy as np
import pytest

from jaxvae import Model, Objective
from jaxvae.checks import UsageError

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from torch import nn  # noqa: E402

from jaxvae.interop.convert import Reading, import_torch  # noqa: E402
from tests.interop.theirs import IMAGES, SHAPE, VAE, function, state_dict  # noqa: E402

NAMES = (
    "encoder.dense_0 encoder.dense_1 mean logvar decoder.dense_0 decoder.dense_1 decoder.dense_2"
)


@pytest.fixture
def made(tmp_path):
    """A file of weights, and what its model makes of images."""
    state = state_dict(NAMES)
    torch.save(state, tmp_path / "model.pth")
    return tmp_path, IMAGES.astype(np.float32), function(state)["pixels"].astype(np.float32)


def take(folder, experiment=VAE, **arrays):
    np.savez(folder / "check.npz", **arrays)
    return import_torch(
        folder / "model.pth", experiment, folder / "run", Reading(), SHAPE, folder / "check.npz"
    )


@pytest.mark.parametrize("flat", [False, True])
def test_the_same_function_is_imported_and_recorded(made, flat):
    folder, images, outputs = made
    if flat:
        images, outputs = images.reshape(3, 1, 40), outputs.reshape(3, 40)
    checked = take(folder, images=images, outputs=outputs)["checked"]
    assert checked["images"] == 3 and checked["largest_difference"] < 1e-6
    assert (folder / "run" / "import.json").exists()


@pytest.mark.parametrize(
    "fields", [{"activation": "tanh"}, {"activation": "leaky_relu"}, {"output": "linear"}]
)
def test_another_function_of_the_same_weights_is_refused(made, fields):
    """The names and shapes fit; the difference is said."""
    folder, images, outputs = made
    objective = Objective("mse" if "output" in fields else "bernoulli")
    experiment = replace(VAE, objective=objective, model=replace(VAE.model, **fields))
    import_torch(folder / "model.pth", experiment, folder / "unchecked", stored_shape=SHAPE)
    with pytest.raises(UsageError, match=r"computes something else: the largest difference .* is"):
        take(folder, experiment, images=images, outputs=outputs)
    assert not (folder / "run").exists()


def test_the_tolerance(made):
    """1e-4 of the largest output, as it says: half of it passes, twice it does not."""
    folder, images, outputs = made
    off = outputs.copy()
    off[1, 0, 2, 3] += 2e-4 * outputs.max()
    with pytest.raises(UsageError, match=r"is 0.0002 of the largest output, and 1e-04 is allowed"):
        take(folder, images=images, outputs=off)
    off[1, 0, 2, 3] = outputs[1, 0, 2, 3] + 0.5e-4 * outputs.max()
    assert take(folder, images=images, outputs=off)["checked"]["largest_difference"] < 1e-4


@pytest.mark.parametrize("stride", [(2, 2), (1, 2)])
def test_strides_are_not_in_a_file_and_the_check_finds_them(tmp_path, stride):
    """A CAE with another stride has the same names and shapes."""
    torch.manual_seed(0)
    first, second = stride
    encoder = nn.Sequential(
        nn.Conv2d(2, 3, 3, first, 1), nn.ReLU(), nn.Conv2d(3, 4, 3, second, 1), nn.ReLU()
    )
    decoder = nn.Sequential(
        nn.ConvTranspose2d(4, 3, 3, second, 1, 1 if second == 2 else 0),
        nn.ReLU(),
        nn.ConvTranspose2d(3, 2, 3, first, 1, 1 if first == 2 else 0),
        nn.Sigmoid(),
    )
    model = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    torch.save(model.state_dict(), tmp_path / "model.pth")
    x = torch.rand(2, 2, 8, 8)
    with torch.no_grad():
        np.savez(tmp_path / "check.npz", images=x.numpy(), outputs=decoder(encoder(x)).numpy())
    settings = Model("CAE", hidden_dims=(3, 4), output="sigmoid")
    experiment = replace(VAE, objective=Objective("mse"), model=settings)

    def take_as(strides, run):
        return import_torch(
            tmp_path / "model.pth",
            replace(experiment, model=replace(settings, strides=strides)),
            tmp_path / run,
            stored_shape=(8, 8, 2),
            check_with=tmp_path / "check.npz",
        )

    other = (1, 2) if stride == (2, 2) else (2, 2)
    with pytest.raises(UsageError, match="computes something else"):
        take_as(other, "other")
    assert take_as(stride, "run")["checked"]["images"] == 2
    assert not (tmp_path / "other").exists()


def test_files_that_are_no_check(made):
    folder, images, outputs = made
    cases = [
        ({"images": images}, "has no array 'outputs'"),
        ({"images": images[:2], "outputs": outputs}, "has 2 images and 3 outputs"),
        ({"images": images.transpose(0, 2, 3, 1), "outputs": outputs}, r"images has the shape"),
        ({"images": images[:0], "outputs": outputs[:0]}, r"must be \(n, 2, 4, 5\)"),
        ({"images": (255 * images).astype(np.uint8), "outputs": outputs}, "are uint8"),
        ({"images": images, "outputs": outputs * np.nan}, "outputs: must be finite"),
        ({"images": np.array([{}]), "outputs": outputs}, "not an .npz of images"),
    ]
    for arrays, message in cases:
        with pytest.raises(UsageError, match=message) as error:
            take(folder, **arrays)
        assert "\n" not in str(error.value) and "check.npz" in str(error.value)
        assert not (folder / "run").exists()
    (folder / "check.npz").write_bytes(b"text")
    for path in (folder / "check.npz", folder / "absent.npz"):
        with pytest.raises(UsageError, match=f"--check .*{path.name}: no") as error:
            import_torch(
                folder / "model.pth", VAE, folder / "run", stored_shape=SHAPE, check_with=path
            )
