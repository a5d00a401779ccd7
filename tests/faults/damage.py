"""Files that a disk, a copy or a hand has damaged: what the commands say of them, and how the sweep goes on."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from imbalance_bench.data.fetch import fetch_file
from imbalance_bench.errors import BenchError
from tests.faults.scenarios import KEPT, LONG
from tests.faults.sweeps import Row, Sweep, World


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return b""


def scribbled(content: bytes) -> bytes:
    """Of 64 bytes one is another."""
    draw, changed = random.Random(len(content)), bytearray(content)
    for _ in range(1 + len(content) // 64):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed) if bytes(changed) != content else content + b"\0"


def other(content: bytes) -> bytes:
    """JSON, and something else."""
    return b"[1, {}]"


KINDS: tuple[Callable[[bytes], bytes], ...] = (cut, emptied, scribbled, other)
BESIDE = ("record.json", "predictions.npz", "metrics.csv", "history.csv", "config.yaml", "train.log")


def records(world: World, kinds: int) -> None:
    """A record and the files beside it: found by status.py, and as numbers as they were after what it advises."""
    for name in BESIDE:
        row = world.row(f"damaged {name}")
        sweep = world.sweep(row)
        sweep.train()
        for damage in KINDS[:kinds]:
            row.faults += 1
            path = next(sweep.runs.runs.rglob(name))
            path.write_bytes(damage(path.read_bytes()))
            row.led_to[repaired(sweep, path)] += 1
            sweep.finish(world.whole)


def repaired(sweep: Sweep, path: Path) -> str:
    """Does what the commands advise; what they said."""
    status = sweep.call("status.py", "--json")
    (state,) = [cell for cell in json.loads(status.stdout) if path.parent.name == cell["id"]]
    if state["state"] != "damaged" or path.name not in state["why"]:
        return f"not found: {state['state']}"
    report = sweep.call("report.py")
    if "rescore" in state["why"]:  # the script or, as here, the verb
        sweep.call("rescore.py", path.parent.name)
        return "named; made again by rescore.py"
    before = sweep.row.lost
    if "cache=overwrite" in state["why"]:
        sweep.train("cache=overwrite")
        sweep.row.lost = before
        return "named; trained again with cache=overwrite"
    done = sweep.train()
    named = path.name in done.stderr and done.returncode == 1
    shutil.rmtree(path.parent)
    return "named, and left out of tables; trained again once removed" if named and not report.returncode else "?"


def while_it_trains(world: World) -> None:
    """Files that a running or killed cell has beside it."""
    whole = world.sweep(Row(""), LONG)
    whole.train()
    row = world.row("damaged checkpoint")
    for damage in KINDS:
        for pick in ("checkpoint.json", "*.safetensors"):
            sweep = world.sweep(row, LONG)
            sweep.train(KEPT, fault=["kill_at", str(sweep.folder), 50, "/checkpoint/"])
            for path in sweep.runs.runs.rglob(f"checkpoint/{pick}"):
                path.write_bytes(damage(path.read_bytes()))
            done = sweep.finish(whole.records())
            aside = "set aside" in done.stderr
            row.led_to["named, set aside, trained anew" if aside else "none was there yet"] += 1
    row = world.row("damaged progress.json, lock, leftovers")
    for damage in KINDS:
        sweep = world.sweep(row, LONG)
        sweep.train(KEPT, fault=["kill_at", str(sweep.folder), 40, "/checkpoint/"])
        for cell in sweep.cells():
            (cell.path / "progress.json").write_bytes(damage(b'{"stage": "training", "done": 3}'))
            (cell.path / ".record.json.123").write_bytes(damage(b"{}"))
            (cell.path / ".lock").write_bytes(damage(b"lock"))
        sweep.call("status.py")
        sweep.finish(whole.records())
        row.led_to["passed over, made again"] += 1


def tally_and_index(world: World) -> None:
    """What a sweep counts by, and what status.py keeps: nothing is believed that is not in a record."""
    row = world.row("damaged tally")
    for damage in KINDS:
        sweep = world.sweep(row, ["hydra.sweep.dir=sweep"])
        stop = threading.Event()

        def spoil(path: Path = sweep.folder / "sweep/outcomes.jsonl", damage=damage, stop=stop) -> None:
            while not stop.is_set():
                with suppress(OSError):
                    if content := path.read_bytes():
                        path.write_bytes(damage(content))
                time.sleep(0.05)

        spoiler = threading.Thread(target=spoil)
        spoiler.start()
        sweep.train(fault=["nothing"])
        stop.set()
        spoiler.join()
        sweep.finish(world.whole)
        row.led_to["its count only"] += 1
    row = world.row("damaged index of records")
    sweep = world.sweep(row)
    sweep.train()
    for damage in KINDS:
        sweep.call("status.py")
        index = sweep.runs.runs / ".index.json"
        index.write_bytes(damage((index.exists() and index.read_bytes()) or b"{}"))
        row.faults += 1
        sweep.finish(world.whole)
        row.led_to["passed over, made again"] += 1


def caches(world: World) -> None:
    """What was made of data once, and is read again."""
    row = world.row("damaged caches of data")
    words = [
        "dataset=texts",
        "dataset.path=t.csv",
        "dataset.text=a",
        "dataset.target=y",
        "backbone=textcnn",
        "backbone.stop_words=false",
    ]
    own = [*words, "paths.data=data", "method=cross_entropy", "trainer.epochs=1"]
    draw = random.Random(0)
    table = "a,y\n" + "".join(
        f"{' '.join(draw.choices(['good', 'bad', 'fine', 'worse', 'so'], k=6))},{int(i % 5 == 0)}\n" for i in range(60)
    )
    whole: dict[str, dict[str, str]] = {}
    for damage in (bytes, *KINDS):  # the first: none
        sweep = world.sweep(row, own)
        (sweep.folder / "t.csv").write_text(table)
        done = sweep.train()
        whole = whole or sweep.records()
        found = [path for path in (sweep.folder / "data").rglob("*") if path.is_file() and path.suffix == ".npz"]
        for path in found:
            row.faults += 1
            path.write_bytes(damage(path.read_bytes()))
        if done.returncode or not found:
            row.told.append(f"{len(found)} caches: {done.stdout}{done.stderr}")
        shutil.rmtree(sweep.folder / "outputs")
        sweep.finish(whole)
        row.led_to["made again"] += len(found)


def downloads(world: World) -> None:
    """From a server of this machine: cut short, another file, and a process that is killed in its middle."""
    row = world.row("a damaged download")
    content = bytes(range(256)) * 4000
    expected = f"sha256:{hashlib.sha256(content).hexdigest()}"
    served = {"content": content, "pause": 0.0}

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            half = len(served["content"]) // 2
            with suppress(OSError):
                self.wfile.write(served["content"][:half])
                time.sleep(served["pause"])
                self.wfile.write(served["content"][half:])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/a.data"
    for damage in (cut, emptied, scribbled):
        folder = world.folder / f"downloads_{damage.__name__}"
        row.faults += 1
        served["content"] = damage(content)
        try:
            fetch_file(url, folder, "a.data", expected)
            row.wrong += 1
        except BenchError:
            row.led_to["named, removed, fetched again"] += 1
        row.wrong += (folder / "a.data").exists()
        served["content"] = content
        row.wrong += fetch_file(url, folder, "a.data", expected).read_bytes() != content
    folder, served["pause"] = world.folder / "downloads_killed", 30.0
    row.faults += 1
    if not (child := os.fork()):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        fetch_file(url, folder, "a.data", expected)
        os._exit(0)
    time.sleep(1.0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    row.wrong += (folder / "a.data").exists()
    served["pause"] = 0.0
    row.wrong += fetch_file(url, folder, "a.data", expected).read_bytes() != content
    row.led_to["fetched again"] += 1
    server.shutdown()
