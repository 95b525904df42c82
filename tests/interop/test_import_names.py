"""Names of a file's arrays: a prefix that is the model's own, and names that no map knows."""

from pathlib import Path

import pytest

from jaxvae import runs
from tests.interop.bits import assert_same_bits

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from jaxvae.interop.convert import Reading, export_torch, import_torch  # noqa: E402
from torch_parity import published  # noqa: E402

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "pytorch_examples_vae.py"
MAP = """
from jaxvae.interop.maps import dense
weight_map = {"model.0": dense("encoder/Dense_0"), "model.mean": dense("mean"),
              "model.logvar": dense("logvar"), "model.1": dense("decoder/Dense_0"),
              "model.2": dense("decoder/Dense_1")}
"""
NAMES = {"fc1": "0", "fc21": "mean", "fc22": "logvar", "fc3": "1", "fc4": "2"}


def save(path, prefix, names):
    """pytorch/examples's VAE with its layers renamed, behind a prefix."""
    state = {}
    for key, tensor in published.PytorchExamplesVAE().state_dict().items():
        layer, _, array = key.partition(".")
        state[f"{prefix}{names.get(layer, layer)}.{array}"] = tensor
    torch.save(state, path)
    return path


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_a_map_may_name_what_elsewhere_is_a_wrapper(tmp_path, wrapper):
    """A model whose layers are in `self.model`: the map that fits it in `compare` fits here."""
    (tmp_path / "my_map.py").write_text(MAP)
    source, map_name = save(tmp_path / "a.pth", f"{wrapper}model.", NAMES), f"{tmp_path}/my_map.py"
    experiment, shape = runs.load_experiment(EXPERIMENT), (28, 28, 1)
    made = import_torch(source, experiment, tmp_path / "run", Reading(map=map_name), shape)
    assert made["prefix"] == wrapper
    export_torch(tmp_path / "run", tmp_path / "b.pth", map_name=map_name)
    loaded = [torch.load(tmp_path / f"{name}.pth", weights_only=True) for name in "ab"]
    theirs, back = ({key: t.numpy() for key, t in state.items()} for state in loaded)
    assert_same_bits(back, theirs)
