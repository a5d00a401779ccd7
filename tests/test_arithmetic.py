"""How a GPU is asked to compute and what a record says of it, by the flags: none is needed."""

from __future__ import annotations

import functools
import os
import subprocess

import numpy as np
import pytest
import torch

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.network import BatchNorm, Dropout
from imbalance_bench.cells import run_cell
from imbalance_bench.engine import Engine
from imbalance_bench.errors import BenchError
from imbalance_bench.running import devices
from imbalance_bench.store import Store
from tests.cells import cell
from tests.tasks import backbone, byte_image_task, method, trainer

GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def restored():
    """The flags of this process as an engine for the CPU sets them."""
    yield
    devices.set_arithmetic(torch.device("cpu"))


def flags() -> dict[str, object]:
    b = torch.backends
    return {
        "matmul": (b.cuda.matmul.allow_tf32, b.cuda.matmul.fp32_precision, torch.get_float32_matmul_precision()),
        "cudnn": (b.cudnn.allow_tf32, b.cudnn.conv.fp32_precision, b.cudnn.rnn.fp32_precision),
        "benchmark": b.cudnn.benchmark,
        "deterministic": (b.cudnn.deterministic, torch.are_deterministic_algorithms_enabled()),
    }


@pytest.fixture
def a_gpu(monkeypatch):
    """torch says that there is a GPU; nothing is computed on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91900)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64", "tf32"])
@pytest.mark.parametrize("deterministic", [True, False])
def test_float32_is_float32_and_kernels_are_deterministic_unless_asked_otherwise(precision, deterministic, a_gpu):
    torch.backends.cudnn.benchmark = True
    engine = Engine(trainer(precision=precision, deterministic=deterministic), "auto")
    assert engine.device == GPU
    tf32 = precision == "tf32"
    found = flags()
    assert found["matmul"] == ((True, "tf32", "high") if tf32 else (False, "ieee", "highest"))
    assert found["cudnn"] == ((True, "tf32", "tf32") if tf32 else (False, "ieee", "ieee"))
    assert found["benchmark"] is False
    assert found["deterministic"] == (deterministic, deterministic)
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == deterministic


def test_the_next_engine_of_a_process_sets_the_flags_anew(a_gpu):
    Engine(trainer(precision="tf32", deterministic=False), "auto")
    Engine(trainer(), "auto")
    assert flags()["matmul"][0] is False
    assert flags()["deterministic"] == (True, True)


def test_flags_that_others_set_by_the_newer_switches_are_overruled(a_gpu):
    """torch raises where the two kinds of switches disagree."""
    torch.backends.cudnn.conv.fp32_precision = torch.backends.cuda.matmul.fp32_precision = "tf32"
    Engine(trainer(), "auto")
    assert flags()["cudnn"] == (False, "ieee", "ieee")


def test_a_cpu_computes_as_before():
    Engine(trainer(), "cpu")
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory


def test_what_a_record_says_of_a_gpu(a_gpu, monkeypatch):
    answer = subprocess.CompletedProcess([], 0, stdout="590.48.01\n590.48.01\n")
    monkeypatch.setattr(devices.subprocess, "run", lambda *_, **__: answer)
    device = Engine(trainer(), "cuda").device
    assert devices.device_name(device) == "cuda:0 NVIDIA H200"
    assert devices.gpu_facts(device)["gpu"] == {
        "name": "NVIDIA H200",
        "driver": "590.48.01",
        "cuda": torch.version.cuda,
        "cudnn": 91900,
        "torch": torch.__version__,
        "tf32": {"matmul": False, "convolution": False, "rnn": False},
        "deterministic": True,
        "benchmark": False,
    }


def test_a_machine_without_the_drivers_tool_is_recorded_without_the_driver(a_gpu, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert devices.gpu_facts(GPU)["gpu"]["driver"] is None


def test_a_record_of_a_cpu_names_no_gpu(tmp_path):
    outcome = run_cell(cell(tmp_path, "dataset=wine", "protocol.folds=2"))
    record = Store(tmp_path).cell(outcome.labels, outcome.path.name).record()
    assert record["device"] == "cpu"
    assert "gpu" not in record["provenance"]
    assert record["provenance"]["packages"]["torch"]


@pytest.mark.parametrize("label", ["explicit_gradient", "meta_weight_net"])
def test_what_cannot_be_differentiated_twice_is_an_error(label):
    with pytest.raises(BenchError, match=f"method={label} differentiates twice.*trainer.compile=false"):
        method(label).fit([byte_image_task()], backbone(), Engine(trainer(compile=True), "cpu"))


def test_networks_compiled_for_a_cpu_are_refused_since_they_do_not_pay():
    with pytest.raises(BenchError, match="does not pay on a CPU.*: set trainer.compile=false"):
        method("cross_entropy").fit([byte_image_task()], backbone(), Engine(trainer(compile=True), "cpu"))


class Small(Backbone):
    """A convolution, batch normalisation and dropout."""

    def build(self, shape, classes, head="linear"):
        layers = [torch.nn.Conv2d(1, 2, 3), BatchNorm(2), torch.nn.ReLU(), torch.nn.Flatten(), Dropout(0.5)]
        return torch.nn.Sequential(*layers, torch.nn.Linear(2 * (shape[1] - 2) ** 2, classes))


@pytest.mark.slow
def test_a_compiled_stack_of_several_runs_changes_its_buffers_as_another_does(monkeypatch):
    """State of batch normalisation and dropout shares its storage with the parameters. Traced, not compiled to code."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(Engine, "check_compile", lambda self: None)
    tasks = [byte_image_task(s, (9, 4, 3), 6) for s in range(2)]
    plain, compiled = (
        method("cross_entropy").fit(tasks, Small(), Engine(trainer(epochs=2, batch_size=8, compile=c), "cpu"))
        for c in (False, True)
    )
    for a, b in zip(plain, compiled):
        torch.testing.assert_close(a.stack.flat, b.stack.flat)
        np.testing.assert_allclose(a.scores(tasks[0].valid.x), b.scores(tasks[0].valid.x), rtol=1e-5)
