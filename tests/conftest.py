"""What several tests share: the published data where they lie, and a folder of data served on this machine."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import hypothesis
import pytest

from imbalance_bench.data import fetch

# The same examples every time, and no time limit for one: the machine may be busy.
hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")


# Commands that the tests interrupt inherit it; in a job that a shell put into the background it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # of nohup


SIMULATED = {"test_device.py", "test_backbones_contract.py", "test_checkpoints_contract.py", "test_graph.py"}


def pytest_collection_finish(session: pytest.Session) -> None:
    """The simulated device must be there before any other test makes a backward pass."""
    if SIMULATED & {item.path.name for item in session.items}:
        from tests import simgpu

        simgpu.register()


@pytest.fixture
def real_data() -> Callable[..., Path]:
    """``real_data("ecoli", "adult")``: the folder that holds these published sets; the test is skipped without it."""
    from imbalance_bench.data.catalogue import entries

    def folder(*names: str) -> Path:
        if not (place := os.environ.get("IMBALANCE_BENCH_DATA")):
            pytest.skip("needs published data: set IMBALANCE_BENCH_DATA to a folder that holds them")
        for name in names:
            if entries()[name].source.paths(Path(place)) is None:
                pytest.skip(f"needs {name}, which IMBALANCE_BENCH_DATA does not hold")
        return Path(place)

    return folder


@dataclass
class Upstream:
    """A server on this machine that stands for the sites that data come from. ``files``: address → content; a number
    is an HTTP status; ``short``: addresses whose connection breaks halfway. ``asked``: what was asked of it."""

    files: dict[str, bytes | int] = field(default_factory=dict)
    short: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    site = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            content = site.files.get(self.path, 404)
            if isinstance(content, int):
                self.send_error(content)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.path in site.short else content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name in fetch.SITES:
        monkeypatch.setitem(fetch.SITES, name, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield site
    server.shutdown()
    server.server_close()
