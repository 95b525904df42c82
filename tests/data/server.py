"""A server on this machine that misbehaves as it is told."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers every GET as `server.answer` does; `server.asked` lists (path, Range)."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Range"]))
        with contextlib.suppress(ConnectionError):
            self.server.answer(self)

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def start(self) -> int:
        """Where the client wants the file to begin."""
        wanted = self.headers["Range"]
        return int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0

    def send(self, content: bytes, status: int = 200, **headers: object) -> None:
        """These bytes; `headers` with _ for -, None for one that is left out."""
        self.send_response(status)
        for name, value in ({"Content_Length": len(content)} | headers).items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.asked = answer, []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    with Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def well(files: dict[str, bytes]) -> Answer:
    """As a good server answers, Range included."""

    def answer(handler: Handler) -> None:
        content = files.get(handler.path.rpartition("/")[2])
        if content is None:
            return handler.send(b"", 404)
        start = handler.start()
        if not start:
            return handler.send(content)
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return handler.send(content[start:], 206, Content_Range=span)

    return answer


def silent(seconds: float) -> Answer:
    """No answer for so long, and then none."""
    return lambda handler: time.sleep(seconds)
