"""Downloads from a server on this machine that breaks off, lies, or does not answer."""

import hashlib
import logging
import multiprocessing
import os
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from jaxvae.data import download
from tests.data.server import Handler, serving, silent, well

CONTENT = np.random.default_rng(0).bytes(100_000)
OTHER = np.random.default_rng(1).bytes(100_000)
WAIT = 0.5


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def file(*servers, content: bytes = CONTENT, name: str = "a.gz") -> download.File:
    urls = tuple(f"{getattr(server, 'url', server)}/{name}" for server in servers)
    return download.File(name, urls, len(content), hashlib.sha256(content).hexdigest())


def fetch(wanted: download.File, folder: Path) -> bytes:
    (path,) = download.fetch([wanted], folder, WAIT)
    assert path == folder / wanted.name and os.listdir(folder) == [wanted.name]  # no .part is left
    return path.read_bytes()


def refused(wanted: download.File, folder: Path) -> str:
    """Why it is not fetched; no file of its name is there then."""
    with pytest.raises(download.Unreachable) as caught:
        download.fetch([wanted], folder, WAIT)
    assert not (folder / wanted.name).exists()
    message = str(caught.value)
    assert "\n" not in message and f"cannot fetch {wanted.name} (http" in message
    return message


def test_a_file_is_fetched_once(tmp_path):
    with serving(well({"a.gz": CONTENT})) as server:
        for _ in range(2):
            assert fetch(file(server), tmp_path / "new" / "folder") == CONTENT
        assert server.asked == [("/a.gz", None)]


def breaks_off_after(size: int):
    """Each answer ends after so many bytes, though it announces all."""

    def answer(handler: Handler) -> None:
        start = handler.start()
        rest = CONTENT[start:]
        span = {"Content_Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
        code = 206 if start else 200
        handler.send(rest[:size], code, Content_Length=len(rest), **(span if start else {}))
        handler.close_connection = True

    return answer


def test_what_broke_off_is_continued(tmp_path):
    with serving(breaks_off_after(30_000)) as server:
        assert fetch(file(server), tmp_path) == CONTENT
        wanted = [None, "bytes=30000-", "bytes=60000-", "bytes=90000-"]
        assert [span for _, span in server.asked] == wanted


def test_a_later_process_continues_too(tmp_path):
    """Killed after 40,000 bytes, say."""
    (tmp_path / "a.gz.part").write_bytes(CONTENT[:40_000])
    with serving(well({"a.gz": CONTENT})) as server:
        assert fetch(file(server), tmp_path) == CONTENT
        assert server.asked == [("/a.gz", "bytes=40000-")]
    # All of it had come, but was not renamed: nothing is asked for.
    os.rename(tmp_path / "a.gz", tmp_path / "a.gz.part")
    assert fetch(file("http://127.0.0.1:1"), tmp_path) == CONTENT


def test_what_broke_off_stays_for_the_next_time(tmp_path):
    def once(handler):
        if len(server.asked) == 1:
            breaks_off_after(30_000)(handler)

    with serving(once) as server:
        refused(file(server), tmp_path)
        assert [span for _, span in server.asked] == [None, "bytes=30000-"]
    assert (tmp_path / "a.gz.part").read_bytes() == CONTENT[:30_000]


def test_a_server_that_drips_is_given_up(tmp_path):
    with serving(breaks_off_after(10)) as server:
        assert "ended after 200 of 100000 bytes" in refused(file(server), tmp_path)
        assert len(server.asked) == download.ATTEMPTS


def test_a_server_that_ignores_range_begins_anew(tmp_path):
    (tmp_path / "a.gz.part").write_bytes(OTHER[:40_000])
    with serving(lambda handler: handler.send(CONTENT)) as server:
        assert fetch(file(server), tmp_path) == CONTENT
        assert server.asked == [("/a.gz", "bytes=40000-")]


def test_a_damaged_part_costs_a_second_try(tmp_path):
    (tmp_path / "a.gz.part").write_bytes(OTHER[:40_000])
    with serving(well({"a.gz": CONTENT})) as server:
        assert fetch(file(server), tmp_path) == CONTENT
        assert [span for _, span in server.asked] == ["bytes=40000-", None]
    (tmp_path / "a.gz").unlink()
    (tmp_path / "a.gz.part").write_bytes(CONTENT + b"too long")
    with serving(well({"a.gz": CONTENT})) as server:
        assert fetch(file(server), tmp_path) == CONTENT


def test_another_range_than_was_asked_for_is_not_appended(tmp_path):
    (tmp_path / "a.gz.part").write_bytes(CONTENT[:40_000])
    with serving(lambda h: h.send(CONTENT[10:], 206, Content_Range="bytes 10-99999/*")) as server:
        assert "another part of the file" in refused(file(server), tmp_path)
    assert (tmp_path / "a.gz.part").read_bytes() == CONTENT[:40_000]


def lies(**headers):
    return lambda handler: handler.send(CONTENT, **headers)


@pytest.mark.parametrize(
    "answer, reason",
    [
        (well({}), "HTTP Error 404: Not Found"),
        (lambda handler: handler.send(b"", 500), "HTTP Error 500"),
        (lambda handler: handler.send(b"", 416), "HTTP Error 416"),
        (lambda handler: handler.send(b""), "ended after 0 of 100000 bytes"),
        (lambda handler: handler.send(OTHER), "other bytes than those published"),
        (lambda handler: handler.send(CONTENT + b"x"), "more than the 100000 bytes"),
        (lambda handler: handler.send(CONTENT * 50, Content_Length=None), "more than the 100000"),
        (lies(Content_Length=10), "ended after"),  # what comes behind is not read
        (lies(Content_Length=-5), ""),
        (lies(Content_Encoding="gzip"), ""),  # is what was asked for all the same
        (lambda handler: handler.send(b"<html>sign in</html>"), "ended after 20 of 100000"),
        (lambda handler: handler.wfile.write(b"nonsense\r\n\r\n"), "nonsense"),
        (lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 999), "header"),
        (lambda handler: handler.send(b"", 302, Location="file:///etc/passwd"), "file"),
        (lambda handler: handler.send(b"", 302, Location=handler.path), "redirect"),
    ],
)
def test_servers_that_lie_or_fail(tmp_path, answer, reason):
    with serving(answer) as server:
        if not reason:  # the bytes are right, whatever is said of them
            assert fetch(file(server), tmp_path) == CONTENT
            return
        message = refused(file(server), tmp_path)
        assert reason in message and len(message) < 500
        # The next mirror is asked.
        with serving(well({"a.gz": CONTENT})) as good:
            assert fetch(file(server, good), tmp_path) == CONTENT


def test_a_server_that_never_answers(tmp_path):
    with serving(silent(3)) as server, serving(well({"a.gz": CONTENT})) as good:
        start = time.monotonic()
        assert "timed out" in refused(file(server, server), tmp_path)
        assert time.monotonic() - start < 2 * WAIT
        assert fetch(file(server, good), tmp_path) == CONTENT


def test_a_server_that_falls_silent(tmp_path):
    def answer(handler):
        handler.send(CONTENT[:50_000], Content_Length=len(CONTENT))
        time.sleep(3)

    with serving(answer) as server:
        start = time.monotonic()
        assert "timed out" in refused(file(server), tmp_path)
        assert time.monotonic() - start < 4 * WAIT
    assert (tmp_path / "a.gz.part").read_bytes() == CONTENT[:50_000]


def test_no_network(tmp_path, monkeypatch):
    """Nobody listens; a name that is looked up for ever, which has no timeout of its own."""
    message = refused(file("http://127.0.0.1:1", "http://127.0.0.1:2"), tmp_path)
    assert "http://127.0.0.1:1/a.gz: " in message and "http://127.0.0.1:2/a.gz: " in message
    assert message.count("Connection refused") == 2
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    start = time.monotonic()
    assert "no answer within 0.5 s" in refused(file("http://elsewhere.example"), tmp_path)
    assert time.monotonic() - start < 2 * WAIT
    assert download.WAIT < 10 and os.listdir(tmp_path) == []


def test_a_damaged_file_is_fetched_again(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with serving(well({"a.gz": CONTENT})) as server:
        for content in (OTHER, CONTENT[:-1], b""):
            (tmp_path / "a.gz").write_bytes(content)
            assert fetch(file(server), tmp_path) == CONTENT
    assert caplog.text.count(f"{tmp_path / 'a.gz'} is damaged: fetching it again") == 3
    assert f"fetching a.gz (0.1 MB) into {tmp_path}" in caplog.text


def test_only_what_is_missing_is_fetched(tmp_path):
    contents = {f"{i}.gz": bytes([i]) * 1000 for i in range(4)}
    (tmp_path / "2.gz").write_bytes(contents["2.gz"])
    with serving(well(contents)) as server:
        files = [file(server, content=c, name=n) for n, c in contents.items()]
        assert not download.here(files, tmp_path)
        paths = download.fetch(files, tmp_path, WAIT)
        assert [path.read_bytes() for path in paths] == [*contents.values()]
        assert [path for path, _ in server.asked] == ["/0.gz", "/1.gz", "/3.gz"]
        assert download.here(files, tmp_path)


def test_a_disk_that_is_full(tmp_path, monkeypatch):
    """Is no fault of the server, which is therefore not asked again."""
    real = Path.open

    def opened(path, mode="r", *rest):
        return real(Path("/dev/full") if path.suffix == ".part" else path, mode, *rest)

    monkeypatch.setattr(Path, "open", opened)
    with serving(well({"a.gz": CONTENT})) as server:
        with pytest.raises(OSError, match="No space left"):
            download.fetch([file(server), file(server, name="b.gz")], tmp_path, WAIT)
        assert len(server.asked) == 1


def fetch_and_tell(url, folder, pipe):
    wanted = file(url)
    pipe.send(download.fetch([wanted], Path(folder), 20)[0].read_bytes() == CONTENT)


def test_two_processes_at_once(tmp_path):
    """One fetches, slowly and in two parts; the others wait and then find it."""

    def answer(handler):
        time.sleep(0.5)
        breaks_off_after(60_000)(handler)

    context = multiprocessing.get_context("fork")
    with serving(answer) as server:
        pipes = [context.Pipe() for _ in range(3)]
        processes = [
            context.Process(target=fetch_and_tell, args=(server.url, tmp_path, there))
            for _, there in pipes
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert all(here.poll() and here.recv() for here, _ in pipes)
        assert [span for _, span in server.asked] == [None, "bytes=60000-"]
    assert os.listdir(tmp_path) == ["a.gz"]


def test_the_bar_on_a_terminal(tmp_path, monkeypatch, capsys):
    """It is full when all has come, also where a part was thrown away and begun anew."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = []

    class Bar(download.Progress):
        def advance(self, task, count=1):
            super().advance(task, count)
            shown.append(self.tasks[0].completed)

    monkeypatch.setattr(download, "Progress", Bar)
    (tmp_path / "a.gz.part").write_bytes(OTHER[:40_000])
    with serving(well({"a.gz": CONTENT})) as server:
        assert fetch(file(server), tmp_path) == CONTENT
    assert shown[0] == 40_000 and max(shown) == shown[-1] == len(CONTENT)
    out, err = capsys.readouterr()
    assert out == "" and "fetching" in err
