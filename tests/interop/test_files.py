"""Files of PyTorch and safetensors: exact round trips; what cannot be read is one clear message."""

import io
import os
import pickle
import sys
import tarfile
import warnings
import zipfile

import numpy as np
import pytest

from jaxvae.checks import UsageError
from jaxvae.interop import files
from tests.interop.bits import assert_same_bits

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

import safetensors.torch as safetensors_torch  # noqa: E402

ARRAYS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "a.double": np.arange(3) / 7,
    "n.num_batches_tracked": np.array(5, np.int64),
}


def save(path, value):
    """As PyTorch users do, in either format."""
    if path.suffix == ".safetensors":
        safetensors_torch.save_file(value, path)
    else:
        torch.save(value, path)
    return path


@pytest.mark.parametrize("suffix", [*files.PYTORCH, ".safetensors"])
def test_written_files_are_read_here_and_there(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    files.write(path, ARRAYS)
    arrays, beside = files.read(path)
    assert_same_bits(arrays, ARRAYS)
    assert beside == []
    if suffix == ".safetensors":
        loaded = safetensors_torch.load_file(path)
    else:
        loaded = torch.load(path, weights_only=True)
    assert_same_bits({key: tensor.numpy() for key, tensor in loaded.items()}, ARRAYS)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_written_file_is_as_readable_as_others(tmp_path, suffix):
    (tmp_path / "other").touch()
    files.write(tmp_path / f"model{suffix}", ARRAYS)
    assert (tmp_path / f"model{suffix}").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_arrays_of_any_layout_are_written(tmp_path, suffix):
    array = np.arange(12.0).reshape(3, 4)
    read_only = array.copy()
    read_only.flags.writeable = False
    files.write(tmp_path / f"model{suffix}", {"t": array.T, "r": read_only, "s": array[::2, 1:]})
    arrays, _ = files.read(tmp_path / f"model{suffix}")
    assert_same_bits(arrays, {"t": array.T, "r": array, "s": array[::2, 1:]})


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_half_precision_becomes_float32_exactly(tmp_path, suffix):
    every = np.arange(2**16, dtype=np.uint16)
    half, brain = torch.tensor(every).view(torch.float16), torch.tensor(every).view(torch.bfloat16)
    path = save(tmp_path / f"model{suffix}", {"half": half, "brain": brain})
    arrays, _ = files.read(path)
    for key, tensor in (("half", half), ("brain", brain)):
        assert arrays[key].dtype == np.float32
        np.testing.assert_array_equal(arrays[key], tensor.float().numpy())  # NaN equal to NaN


MORE = {key: array + array.dtype.type(1) for key, array in ARRAYS.items()}


def many(arrays=ARRAYS):
    """A state dict that has matrices."""
    return {key: torch.tensor(array) for key, array in arrays.items()}


OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(3, 4)}}, "groups": []}


@pytest.mark.parametrize(
    ("wrap", "beside"),
    [
        (lambda s: {"model_state_dict": s, "epoch": 3}, ["epoch"]),
        (lambda s: {"state_dict": s, "optimizer_states": [OPTIMIZER]}, ["optimizer_states"]),
        (lambda s: {"model": {"state_dict": s}}, []),
        (lambda s: {"net": s, "optimizer": OPTIMIZER, "epoch": 1}, ["optimizer", "epoch"]),
        (lambda s: {"optim": {"state": {"w": torch.ones(2, 2)}}, "vae": s}, ["optim"]),
        (lambda s: {"params": {"ema": s, "decay": 0.9}, "loss": torch.tensor(0.5)}, None),
        (lambda s: {"checkpoint": {"weights": {"generator": s}}}, []),
        (lambda s: s | {"epoch": 3, 7: torch.zeros(2)}, ["epoch", "7"]),
        (lambda s: {"weights": s, "mean": torch.zeros(3), "scaler": {"scale": 2}}, None),
    ],
)
def test_the_state_dict_is_found_behind_any_key(tmp_path, wrap, beside):
    """And all that the file has besides is named."""
    arrays, found = files.read(save(tmp_path / "model.ckpt", wrap(many())))
    assert_same_bits(arrays, ARRAYS)
    if beside is None:
        beside = {"loss", "params.decay"} if "loss" in wrap({}) else {"mean", "scaler"}
    assert set(found) == set(beside)


@pytest.mark.parametrize(
    "names", [("model", "ema"), ("state_dict", "ema.shadow"), ("encoder", "decoder")]
)
def test_one_of_several_state_dicts_must_be_named(tmp_path, names):
    first, second = names
    inner = {"shadow": many(MORE)} if "." in second else many(MORE)
    path = save(tmp_path / "model.pt", {first: many(), second.partition(".")[0]: inner, "step": 5})
    described = rf"{first} \(3 tensors\), {second} \(3 tensors\)"
    with pytest.raises(
        UsageError, match=rf"several state dicts: {described}.*--state-dict {first}"
    ):
        files.read(path)
    arrays, beside = files.read(path, [second])
    assert_same_bits(arrays, MORE)
    assert set(beside) == {first, "step"}
    both, beside = files.read(path, names)
    assert both.keys() == {f"{name}.{key}" for name in names for key in ARRAYS}
    assert beside == ["step"]
    with pytest.raises(UsageError, match=rf"--state-dict third: must be one of {described}"):
        files.read(path, ["third"])


def test_the_same_state_dict_twice_and_one_inside_itself_are_one(tmp_path):
    state = many()
    arrays, _ = files.read(save(tmp_path / "twice.pt", {"model": state, "best": state}))
    assert_same_bits(arrays, ARRAYS)
    endless = {"model": many()}
    endless["model"]["model"] = endless["model"]
    arrays, _ = files.read(save(tmp_path / "endless.pt", endless))
    assert_same_bits(arrays, ARRAYS)


def test_a_file_of_safetensors_has_no_state_dicts_to_choose_from(tmp_path):
    path = save(tmp_path / "model.safetensors", many())
    assert_same_bits(files.read(path, ["."])[0], ARRAYS)
    with pytest.raises(UsageError, match=r"--state-dict ema: must be one of \. \(3 tensors\)"):
        files.read(path, ["ema"])


def test_a_parameter_and_a_strange_layout_are_read(tmp_path):
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    arrays, _ = files.read(save(tmp_path / "model.pt", {"p": weight, "t": weight.detach().T}))
    np.testing.assert_array_equal(arrays["p"], arrays["t"].T)


class Code:
    """A pickle of it calls os.mkdir when it is loaded."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_code_in_a_file_is_not_run(tmp_path):
    executed = tmp_path / "executed"
    zipped = save(tmp_path / "zip.pth", {"a": torch.zeros(2), "b": Code(executed)})
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps({"b": Code(executed)}, protocol=2))
    for path in (zipped, plain):
        with pytest.raises(UsageError, match=rf"{path.name}: needs posix.mkdir, .* not run"):
            files.read(path)
        assert not executed.exists()
    with warnings.catch_warnings():  # the file does what the test says it would do
        torch.load(zipped, weights_only=False)
    assert executed.exists()


def test_a_pickled_module_is_refused_with_a_way_out(tmp_path):
    path = save(tmp_path / "model.pth", torch.nn.Linear(2, 2))
    with pytest.raises(UsageError, match=r"torch.nn.modules.linear.Linear.*state_dict\(\)"):
        files.read(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files(tmp_path, suffix):
    whole = save(tmp_path / f"whole{suffix}", {"a": torch.randn(50, 4)}).read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in (0, 1, 7, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UsageError, match=f"cut{suffix}: .*damaged"):
            files.read(path)


def test_a_dict_that_holds_itself_is_read(tmp_path):
    whole = {"a": torch.ones(2)}
    whole["model"] = whole
    arrays, _ = files.read(save(tmp_path / "model.pth", whole))
    assert_same_bits(arrays, {"a": np.ones(2, np.float32)})


@pytest.mark.parametrize("suffix", [".pth", ".old.pth"])
def test_a_tensor_larger_than_its_numbers_is_refused(tmp_path, suffix):
    """It would fill the memory where it is converted."""
    huge = torch.zeros(1, dtype=torch.float16).expand(10**9, 10**6)
    path = tmp_path / f"model{suffix}"
    torch.save({"a": huge}, path, _use_new_zipfile_serialization=suffix == ".pth")
    assert path.stat().st_size < 2000
    with pytest.raises(UsageError, match=r"a: not a plain tensor \(TypeError: it repeats"):
        files.read(path)


def test_archives_that_grow_are_refused(tmp_path):
    path, packed = save(tmp_path / "a.pth", {"a": torch.zeros(9999)}), tmp_path / "packed.pth"
    with (
        zipfile.ZipFile(path) as archive,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as other,
    ):
        for entry in archive.infolist():
            other.writestr(entry.filename, archive.read(entry))
    with pytest.raises(UsageError, match=r"packed.pth: damaged \(its parts are larger than"):
        files.read(packed)
    start = path.read_bytes()[:30]
    (tmp_path / "only-start.pth").write_bytes(start + bytes(99))
    with pytest.raises(UsageError, match=r"only-start.pth: damaged \(BadZipFile"):
        files.read(tmp_path / "only-start.pth")


@pytest.mark.parametrize("kind", ["script", "trace"])
def test_torchscript_is_recognised_and_its_remedy_works(tmp_path, kind, monkeypatch):
    """An intact program is not called damaged; the two lines that are shown make a good file."""
    monkeypatch.chdir(tmp_path)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch wants torch.export to be used
        program = torch.jit.trace(model, torch.ones(1, 3)) if kind == "trace" else None
        program = program or torch.jit.script(model)
        program.save("program.pt")
        with pytest.raises(UsageError) as error:
            files.read("program.pt")
        message = str(error.value)
        assert message.startswith("program.pt: a TorchScript program (torch.jit.save), which load")
        assert "damaged" not in message and "\n" not in message
        remedy = message.partition("in PyTorch: ")[2]
        exec(remedy, {"torch": torch})
    arrays, _ = files.read("weights.pth")
    assert_same_bits(arrays, {key: t.numpy() for key, t in model.state_dict().items()})


def test_a_program_of_torch_export_is_recognised(tmp_path):
    path = save(tmp_path / "program.pt", many())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("program/archive_format", b"pt2")
    with pytest.raises(UsageError, match=r"program.pt: a program of torch.export, .*\.state_dict;"):
        files.read(path)


def test_a_cut_program_is_damaged(tmp_path):
    path = tmp_path / "program.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(3, 4)).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match=r"program.pt: damaged \(BadZipFile"):
        files.read(path)


def test_a_tar_archive_writes_nothing(tmp_path):
    """The format of PyTorch before 0.1.10, which PyTorch would unpack."""
    path = tmp_path / "in" / "model.pth"
    path.parent.mkdir()
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle", "../escaped"):
            entry = tarfile.TarInfo(name)
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"text"))
    with pytest.raises(UsageError, match=r"model.pth: .*damaged"):
        files.read(path)
    assert [p.name for p in tmp_path.rglob("*")] == ["in", "model.pth"]


def test_a_changed_byte_of_the_weights_is_noticed(tmp_path):
    path = save(tmp_path / "model.pth", {"a": torch.full((50, 4), 3.0)})
    content = bytearray(path.read_bytes())
    content[content.index(np.full(4, 3, np.float32).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"checksum of .*data/0 is wrong"):
        files.read(path)


def test_files_that_hold_something_else(tmp_path):
    text = tmp_path / "text.pth"
    text.write_text("not a model\n" * 30)
    cases = {
        text: "damaged",
        save(tmp_path / "empty.pt", {}): "has no tensors",
        save(tmp_path / "numbers.pt", {"epoch": 3, "state_dict": {}}): "has no tensors",
        save(tmp_path / "list.bin", [1, 2]): "has no tensors",
        save(tmp_path / "sparse.pt", {"a": torch.eye(2).to_sparse()}): "a: not a plain tensor",
        tmp_path / "missing.pth": "no such file",
        tmp_path / "model.onnx": "must end in .pth, .pt, .ckpt, .bin or .safetensors",
    }
    for path, message in cases.items():
        with pytest.raises(UsageError, match=f"{path.name}: .*{message}"):
            files.read(path)
    with pytest.raises(UsageError, match=r"model.npz: must end in"):
        files.write(tmp_path / "model.npz", ARRAYS)
    assert not (tmp_path / "model.npz").exists()


@pytest.mark.parametrize(
    ("suffix", "library"), [(".pth", "torch"), (".safetensors", "safetensors")]
)
def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, suffix, library):
    path = tmp_path / f"model{suffix}"
    files.write(path, ARRAYS)
    for module in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, module, None)
    for work in (lambda: files.read(path), lambda: files.write(path, ARRAYS)):
        with pytest.raises(UsageError, match=r"pip install 'jaxvae\[parity\]'"):
            work()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"model{suffix}"
    files.write(path, ARRAYS)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        files.write(path, {"a": np.zeros(3)})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]
