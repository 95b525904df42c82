"""Batches of images in their files: as asked for, in order, with threads and memory bounded."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvae.checks import UsageError
from jaxvae.data import streaming
from jaxvae.data.lazy import LazyImages
from jaxvae.data.streaming import stream

THREADS = 8
"""Reading threads in these tests, however few processors there are."""


@pytest.fixture(autouse=True)
def many_threads(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: THREADS)


def test_grain_is_imported_only_to_stream():
    script = "import sys; from jaxvae.data import streaming; print('grain' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def numbered(n: int, read=lambda i: None) -> LazyImages:
    """n images of 2x2 whose bytes are their number; `read` is called with it first."""

    def decoded(records: list[int]) -> Iterator[np.ndarray]:
        for i in records:
            read(i)
            yield np.array([i], np.int32).view(np.uint8).reshape(2, 2, 1)

    return LazyImages(decoded, np.arange(n), (2, 2, 1))


def numbers(images: np.ndarray) -> np.ndarray:
    """The numbers of such images, in an array without the images' own axes."""
    return np.ascontiguousarray(images).reshape(*images.shape[:-3], 4).view(np.int32)[..., 0]


def test_a_view_is_indexed_like_an_array():
    images = numbered(20).take(np.arange(19, -1, -2), axis=0)
    expected = np.arange(19, -1, -2)
    assert images.shape == (10, 2, 2, 1)
    for index in (slice(None), slice(2, 7, 2), slice(0), np.array([3, 3, -1]), np.array([], int)):
        np.testing.assert_array_equal(numbers(images[index]), expected[index])
        np.testing.assert_array_equal(
            numbers(images.take(np.arange(10)[index])[:]), expected[index]
        )
    with pytest.raises(IndexError):
        images[np.array([10])]


def test_a_set_becomes_no_array_by_accident():
    with pytest.raises(TypeError, match=r"indexing: images\[:\]"):
        np.asarray(numbered(3))


@settings(max_examples=60)  # threads are waited for
@given(shuffled=st.data())
def test_order_and_shapes(shuffled):
    steps, batch_size = shuffled.draw(st.integers(0, 12)), shuffled.draw(st.integers(1, 5))
    chunk, start = shuffled.draw(st.integers(1, 14)), shuffled.draw(st.integers(0, steps))
    seed = shuffled.draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    pauses = rng.exponential(2e-4, 50)  # so that later batches are ready before earlier ones
    images = numbered(50, lambda i: time.sleep(pauses[i]))
    batches = rng.integers(0, 50, (steps, batch_size))
    with pytest.MonkeyPatch.context() as patch:
        bytes_ahead = shuffled.draw(st.sampled_from([1, 4 * batch_size * 3, 2**20]))
        patch.setattr(streaming, "READ_AHEAD_BYTES", bytes_ahead)
        chunks = list(stream(images, batches[start:], chunk))  # as resumed in mid-epoch

    sizes = [min(chunk, steps - i) for i in range(start, steps, chunk)]
    assert [part.shape for part in chunks] == [(m, batch_size, 2, 2, 1) for m in sizes]
    assert all(part.dtype == np.uint8 for part in chunks)
    for i, part in enumerate(chunks):
        rows = slice(start + i * chunk, start + (i + 1) * chunk)
        np.testing.assert_array_equal(numbers(part), batches[rows])


def test_processes_read_their_own_columns():
    batches = np.random.default_rng(0).permutation(60).reshape(5, 12)
    read = []
    parts = [
        next(stream(numbered(60, read.append), batches[:, mine], 5))
        for mine in (slice(0, 6), slice(6, 12))
    ]
    np.testing.assert_array_equal(numbers(np.concatenate(parts, axis=1)), batches)
    assert sorted(read) == list(range(60))  # none is read twice


def wait_until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("ending", ["closed", "exhausted", "forgotten", "failed"])
def test_no_thread_outlives_its_iterator(ending):
    def read(i: int) -> None:
        if i == 30 and ending == "failed":
            raise UsageError("image 30")

    before = set(threading.enumerate())
    chunks = stream(numbered(40, read), np.arange(40)[:, None], 4)
    next(chunks)
    assert 0 < len(set(threading.enumerate()) - before) <= THREADS
    if ending == "closed":
        chunks.close()
    elif ending == "exhausted":
        assert len(list(chunks)) == 9
    elif ending == "forgotten":
        del chunks
    else:
        for _ in range(6):  # what comes before the failure
            next(chunks)
        with pytest.raises(UsageError) as caught:
            next(chunks)
        assert str(caught.value) == "image 30"
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_closing_abandons_what_was_to_be_read(monkeypatch):
    before, gate, read = set(threading.enumerate()), threading.Event(), []

    def wait(i: int) -> None:
        if i > 0:
            gate.wait(20)
        read.append(i)

    chunks = stream(numbered(1000, wait), np.arange(1000)[:, None], 1)
    next(chunks)
    chunks.close()  # returns although every thread is in the middle of an image
    gate.set()
    wait_until(lambda: set(threading.enumerate()) <= before)
    assert len(read) <= 1 + THREADS


@pytest.mark.parametrize("batches_ahead, expected", [(10, 10), (0.5, 1)])
def test_no_more_is_read_ahead_than_allowed(monkeypatch, batches_ahead, expected):
    batch_size, chunk = 6, 3
    monkeypatch.setattr(streaming, "READ_AHEAD_BYTES", int(batches_ahead * batch_size * 4))
    read = []
    images = numbered(1000, read.append)
    chunks = stream(images, np.arange(900).reshape(-1, batch_size), chunk)
    time.sleep(0.1)
    assert read == []
    for taken in (1, 2):
        next(chunks)
        wait_until(lambda taken=taken: len(read) == (taken * chunk + expected) * batch_size)
        time.sleep(0.2)  # a slow consumer: nothing more is read
        assert sorted(read) == list(range((taken * chunk + expected) * batch_size))
    chunks.close()


LARGER_THAN_MEMORY = """
from pathlib import Path
import grain, numpy as np
from jaxvae import config
from jaxvae.data.lazy import LazyImages
from jaxvae.data.splits import Source, Split, split
from jaxvae.data.streaming import stream

def peak():  # in bytes; of this program alone, while getrusage starts from the parent's
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
    return 1024 * int(line.split()[1])

def read(records):
    return (np.full((64, 64, 3), i % 251, np.uint8) for i in records)

images = LazyImages(read, np.arange(1_700_000), (64, 64, 3))
assert np.prod(images.shape) > 20e9
before = peak()
source = Source("large", Split(images, None), None, None, "")
train = split(source, config.Data()).train.images
order = np.random.default_rng(0).permutation(len(train))[: 2500 * 32]
drawn = 0
for chunk in stream(train, order.reshape(2500, 32), 20):
    expected = train.records[order[drawn : drawn + chunk.shape[0] * 32]] % 251
    assert (chunk[..., 0, 0, 0].ravel() == expected).all()
    drawn += chunk.shape[0] * 32
print(drawn, peak() - before)
"""


def test_a_set_of_20_gb_in_bounded_memory():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", LARGER_THAN_MEMORY],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    drawn, growth = map(int, done.stdout.split())
    assert drawn == 80_000  # 1 GB of pixels
    # 64 MiB ahead, two chunks of 8 MB, five arrays of up to 14 MB for records and orders; threads.
    assert growth < 64 * 2**20 + 2 * 8e6 + 5 * 14e6 + 50e6
