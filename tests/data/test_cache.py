"""Decoded images are kept, checked and rebuilt."""

import logging
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from jaxvae import config
from jaxvae.data import cache, decode, folder
from jaxvae.data.splits import Split

SPLITS = {
    "train": Split(np.arange(24, dtype=np.uint8).reshape(6, 2, 2, 1), np.arange(6, dtype=np.int32)),
    "test": Split(np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1), None),
}


def assert_same(a: dict[str, Split], b: dict[str, Split]) -> None:
    assert a.keys() == b.keys()
    for key in a:
        for x, y in zip(a[key][:2], b[key][:2], strict=True):
            assert (x is None) == (y is None)
            if x is not None:
                assert x.dtype == y.dtype
                np.testing.assert_array_equal(x, y)


class Decoder:
    """Counts how often it decodes."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return SPLITS


def only_file(folder):
    (path,) = folder.iterdir()
    return path


def test_second_load_does_not_decode(photos, monkeypatch):
    calls = []
    monkeypatch.setattr(folder, "decode", lambda *a: calls.append(1) or decode.decode(*a))
    first = folder.find(photos, config.Data()).read()
    second = folder.find(photos, config.Data()).read()
    assert len(calls) == 1
    assert_same({"train": first.train}, {"train": second.train})
    assert first.classes == second.classes


def test_the_log_says_what_is_decoded_and_where_it_is_kept(cache_folder, caplog):
    caplog.set_level(logging.INFO, "jaxvae")
    cache.cached("a/b:1", 8, ["x"], Decoder())
    cache.cached("a/b:1", 8, ["x"], Decoder())
    (message,) = caplog.messages
    assert message == f"decoding a/b:1 (8 images), once; kept in {only_file(cache_folder)}"


@pytest.mark.parametrize("change", ["content", "time", "name", "one more", "resize"])
def test_a_changed_source_is_decoded_anew(photos, cache_folder, change):
    folder.find(photos, config.Data()).read()
    path = photos / "dog" / "1.png"
    if change == "content":
        status = path.stat()
        Image.fromarray(np.full((4, 3), 77, np.uint8)).save(path, compress_level=0)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # only the size tells
    elif change == "time":
        os.utime(path, ns=(0, 1))
    elif change == "name":
        path.rename(photos / "dog" / "9.png")
    elif change == "one more":
        (photos / "dog" / "3.png").write_bytes(path.read_bytes())
    source = folder.find(photos, config.Data(resize=(9, 9) if change == "resize" else None)).read()
    assert len(list(cache_folder.iterdir())) == 2
    if change == "content":
        assert source.train.images[4, 0, 0, 0] == 77
    if change == "one more":
        assert source.train.images.shape[0] == 7


def test_other_sources_and_formats_have_other_files(cache_folder, monkeypatch):
    cache.cached("a", 8, ["x"], Decoder())
    cache.cached("a", 8, ["y"], Decoder())
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    cache.cached("a", 8, ["x"], Decoder())
    assert len(list(cache_folder.iterdir())) == 3


def flip_pixel(content: bytes) -> bytes:
    start = content.index(bytes(range(24)))  # the training images
    return content[: start + 5] + bytes([content[start + 5] ^ 1]) + content[start + 6 :]


@pytest.mark.parametrize("damage", [flip_pixel, lambda b: b[: len(b) // 2], lambda b: b""])
def test_damage_is_noticed_and_repaired(cache_folder, caplog, damage):
    decoder = Decoder()
    cache.cached("a", 8, ["x"], decoder)
    path = only_file(cache_folder)
    path.write_bytes(damage(path.read_bytes()))

    assert_same(cache.cached("a", 8, ["x"], decoder), SPLITS)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert str(path) in warning and "damaged" in warning and "\n" not in warning
    assert decoder.calls == 2
    assert_same(cache.cached("a", 8, ["x"], decoder), SPLITS)
    assert decoder.calls == 2  # repaired


def test_no_flipped_byte_goes_unnoticed(cache_folder, caplog):
    cache.cached("a", 8, ["x"], Decoder())
    path = only_file(cache_folder)
    content = path.read_bytes()
    repaired = 0
    for i in range(len(content)):  # arrays, their headers and the archive's own records
        path.write_bytes(content[:i] + bytes([content[i] ^ (1 << i % 8)]) + content[i + 1 :])
        decoder = Decoder()
        assert_same(cache.cached("a", 8, ["x"], decoder), SPLITS)
        repaired += decoder.calls
    assert repaired > len(content) / 2  # the rest is padding, dates and the like


SCRIPT = """
import hashlib, sys
from pathlib import Path
from jaxvae import config
from jaxvae.data import folder
source = folder.find(Path(sys.argv[1]), config.Data()).read()
print(hashlib.sha256(source.train.images.tobytes()).hexdigest())
"""


def test_processes_at_once_succeed_and_agree(photos, cache_folder):
    rng = np.random.default_rng(0)
    for i in range(200):
        image = Image.fromarray(rng.integers(0, 256, (4, 3), np.uint8))
        image.save(photos / "cat" / f"more{i}.png")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(photos)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0] == outputs[1] and outputs[0][1] == ""
    assert only_file(cache_folder).suffix == ".npz"  # and no temporary file is left


def test_an_unwritable_cache_folder_is_no_obstacle(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("JAXVAE_CACHE", str(tmp_path / "file" / "cache"))
    assert_same(cache.cached("a", 8, ["x"], Decoder()), SPLITS)
    assert any("cannot keep the decoded images of a" in m for m in caplog.messages)


def test_a_failed_write_leaves_nothing_behind(cache_folder, monkeypatch, caplog):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert_same(cache.cached("a", 8, ["x"], Decoder()), SPLITS)
    assert list(cache_folder.iterdir()) == []
    assert "No space left" in caplog.text


def test_old_temporary_files_are_removed_and_recent_ones_kept(cache_folder):
    cache_folder.mkdir()
    old, recent = cache_folder / "old.tmp", cache_folder / "recent.tmp"
    for path in (old, recent):
        path.write_bytes(b"half")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    cache.cached("a", 8, ["x"], Decoder())
    assert not old.exists() and recent.exists()


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    assert cache.folder() == tmp_path / "cache"
    monkeypatch.delenv("JAXVAE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder() == tmp_path / "xdg" / "jaxvae"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.folder() == tmp_path / "home" / ".cache" / "jaxvae"
