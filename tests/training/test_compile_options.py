"""What XLA is told on a GPU: CUDA graphs of whole loops, unless the user or the version says no."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxvae.training import devices


@pytest.fixture
def on_cuda(monkeypatch):
    """XLA's options for GPUs are accepted, and ignored, by its CPU backend."""
    client = SimpleNamespace(platform_version="PJRT C API\ncuda 13000")
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(client=client)])


def compiled():
    return devices._compiled(jax.jit(lambda x: x + 1).lower(1.0))


def test_nothing_on_other_platforms():
    assert devices.compile_options() == {}


def test_loops_become_graphs(on_cuda, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert "WHILE" in str(devices.compile_options()["xla_gpu_enable_command_buffer"])
    np.testing.assert_equal(np.asarray(compiled()(2.0)), 3)


def test_the_users_flags_go_before(on_cuda, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_enable_command_buffer= --xla_dump_to=x")
    assert list(devices.compile_options()) == ["xla_gpu_graph_min_graph_size"]


def test_a_version_that_lacks_an_option_compiles_without(on_cuda, monkeypatch, caplog):
    monkeypatch.setitem(devices.CUDA_OPTIONS, "xla_gpu_no_such_option", 1)
    np.testing.assert_equal(np.asarray(compiled()(2.0)), 3)
    assert "xla_gpu_no_such_option" in caplog.text
