"""Steps over buffers that stay where they are, as CUDA graphs need them, against the loop; on the CPU and on the
simulated device. The capture itself with a stand-in for torch.cuda.CUDAGraph, which holds the step to what it promises:
what is captured is not run, and what is replayed is the same call."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from imbalance_bench.cells import run_cell
from imbalance_bench.data.base import Part
from imbalance_bench.engine import Engine, graph
from imbalance_bench.engine.graph import Replayed
from imbalance_bench.engine.joint import Joint
from imbalance_bench.engine.loop import Training
from imbalance_bench.engine.monitor import Monitor
from imbalance_bench.errors import BenchError
from imbalance_bench.running import devices
from imbalance_bench.store import Store
from tests import simgpu
from tests.cells import cell
from tests.tasks import backbone, byte_image_task, method, task, trainer
from tests.test_cwgan import gans
from tests.test_text_backbones import SMALL
from tests.test_text_backbones import text_task as ids_task

EVEN, RAGGED = [(90, 38)] * 4, [(90, 38), (61, 9), (100, 30), (20, 5)]


@pytest.fixture
def steps(monkeypatch):
    """Steps over buffers wherever a training has them; how many were taken."""
    taken = []
    run = Replayed.run
    monkeypatch.setattr(Replayed, "run", lambda self, n=1: (taken.append(n), run(self, n))[1])
    monkeypatch.setattr(graph, "wanted", lambda *_: True)
    return taken


@pytest.fixture
def device(monkeypatch):
    real = devices.choose_device
    monkeypatch.setattr(devices, "choose_device", lambda name: torch.device("sim", 0) if name == "sim" else real(name))
    with simgpu.installed():
        yield "sim"


def fit(tasks, label="cross_entropy", net=None, base="adam", where="cpu", options=(), **settings):
    made = trainer(base, **{"precision": "float64", "batch_size": 32, "epochs": 8} | settings)
    return method(label, **dict(options)).fit(tasks, net or backbone(), Engine(made, where))


def assert_same(found, expected, atol=1e-10):
    for a, b in zip(found, expected, strict=True):
        for readout in b.readouts:
            torch.testing.assert_close(a.parameters[readout].cpu(), b.parameters[readout].cpu(), rtol=0, atol=atol)
        assert [h.keys() for h in a.history] == [h.keys() for h in b.history]
        for ours, theirs in zip(a.history, b.history):
            assert ours == pytest.approx(theirs, rel=1e-9)
        assert (a.failure, a.readouts) == (b.failure, b.readouts)


SETTINGS = {
    "adam": {},
    "sgd": {"base": "sgd", "lr": 0.05},
    "decay": {"weight_decay": 1e-2, "schedule": "cosine"},
    "sgd, decay, falling": {"base": "sgd", "weight_decay": 1e-2, "schedule": "inverse_time", "decay": 0.01},
    "steps": {"schedule": "step", "milestones": [0.5], "warmup_epochs": 3},
}


@pytest.mark.parametrize("sizes", [EVEN[:1], EVEN, RAGGED], ids=["one", "even", "ragged"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_an_mlp(sizes, settings, steps, monkeypatch):
    """After more than 100 steps by Adam and SGD as they are."""
    tasks = [task(s, n) for s, n in enumerate(sizes)]
    settings = settings if "schedule" in settings else {"epochs": 26} | settings
    ours = fit(tasks, **settings)
    assert sum(steps) >= (32 if "schedule" in settings else 100)
    monkeypatch.undo()
    assert_same(ours, fit(tasks, **settings))


@pytest.mark.parametrize(
    ("label", "options"),
    [
        ("focal", {}), ("ldam", {}), ("ldam_drw", {}), ("balanced_softmax", {}), ("class_balanced", {}), ("dice", {}),
        ("balanced_batches", {}), ("mixup", {"alpha": 0.3}), ("remix", {}), ("mixtext", {}), ("tl_rs_csl", {}),
        ("crt", {}),
    ],
)  # fmt: skip
def test_methods(label, options, steps, monkeypatch):
    """What is drawn for a batch is drawn before the epoch, in the same order."""
    tasks = [task(s, n) for s, n in enumerate(RAGGED[:2])]

    def trained():
        return [c.scores(t.valid.x) for c, t in zip(fit(tasks, label, options=options, epochs=3), tasks)]

    ours = trained()
    assert steps
    monkeypatch.undo()
    np.testing.assert_allclose(np.concatenate(ours), np.concatenate(trained()), atol=1e-10)


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize(
    ("label", "options", "augment"),
    [
        ("lenet_small", {"kernel": 2, "conv": [3, 4], "hidden": [12, 8]}, "shift_flip"),
        ("resnet20", {"depth": 8}, "crop_flip"),
        ("keras_cnn", {}, "none"),
    ],
)
def test_networks_of_images(runs, label, options, augment, steps, monkeypatch):
    """Running statistics, dropout and augmentation; of two runs one has fewer rows."""
    tasks = [byte_image_task(s, (12 - 3 * s, 6, 4), 12) for s in range(runs)]
    settings = {"base": "sgd", "augment": augment, "epochs": 3, "batch_size": 8, "weight_decay": 1e-4}
    net = backbone(label, **options)
    ours = fit(tasks, net=net, **settings)
    assert sum(steps) == 9
    monkeypatch.undo()
    assert_same(ours, fit(tasks, net=net, **settings), atol=1e-9)


def test_rounds_of_deep_over_sampling(steps, monkeypatch):
    """Targets of a round are put where those of the round before lay."""
    tasks = [byte_image_task(s, (20 - 3 * s, 9, 7), 12) for s in range(2)]
    net = backbone("lenet_small", kernel=2, conv=[3, 4], hidden=[12, 8])

    def trained():
        made = fit(tasks, "dos_k3", net, "sgd", epochs=6, batch_size=12)
        return [c.scores(t.valid.x, readout) for c, t in zip(made, tasks) for readout in c.readouts]

    graphs = []
    init = Replayed.__init__
    monkeypatch.setattr(Replayed, "__init__", lambda self, *a, **k: (graphs.append(self), init(self, *a, **k))[1])
    ours = trained()
    assert len(graphs) <= 4 < len(steps)  # two kinds of batches in each of two phases
    monkeypatch.undo()
    np.testing.assert_allclose(np.concatenate(ours), np.concatenate(trained()), atol=1e-9)


@pytest.mark.parametrize("objective", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("eta2", [0.0, 1.0])
@pytest.mark.parametrize("step1", ["algorithm1", "eq1"])
@pytest.mark.parametrize("sizes", [EVEN[:1], EVEN[:3], RAGGED[:3]], ids=["one", "even", "ragged"])
def test_meta_steps(sizes, step1, eta2, objective, steps, monkeypatch):
    """Moved rows too. Of the ragged runs one has fewer steps than the others, and each its own number of copies."""
    options = {"step1": step1, "eta1": 0.05, "eta2": eta2, "objective": objective}
    made = method("explicit_gradient", meta_epochs=5, valid_batch=20, synthetic_batch=12, **options)
    tasks = [task(s, n) for s, n in enumerate(sizes)]
    engine = Engine(trainer(precision="float64", batch_size=16), "cpu")
    starts = [t.train.take(np.flatnonzero(t.train.y == 1)) for t in tasks]
    starts = [Part(s.x.astype(np.float64), s.y, s.ids) for s in starts]
    if objective == "squared_error":
        tasks, starts = [as_regression(t) for t in tasks], [replace(s, y=s.y.astype(np.float64)) for s in starts]

    def adapted():
        stack = engine.stack(made, tasks, backbone())
        return made.adapt(tasks, starts, engine.classifiers(stack, Monitor(stack, tasks)), engine)

    ends, ours = adapted()
    assert sum(steps) == 5 * max(-(-len(t.train) // 16) for t in tasks)
    monkeypatch.undo()
    expected, theirs = adapted()
    assert_same(ours, theirs)
    for found, there, start in zip(ends, expected, starts):
        np.testing.assert_allclose(found.x, there.x, rtol=0, atol=1e-10)
        assert (found.x != start.x).any() == bool(eta2)


def as_regression(t):
    def numbers(part):
        return Part(part.x, part.y.astype(np.float64), part.ids)

    return replace(t, kind="regression", classes=0, train=numbers(t.train), valid=numbers(t.valid))


@pytest.mark.parametrize("label", ["setconv", "setconv_code"])
def test_episodes(label, steps, monkeypatch):
    """Two optimisers, whose rates fall from episode to episode, in setconv_code."""
    tasks = [task(s, n) for s, n in enumerate(RAGGED[:2])]
    settings = {"base": label, "options": {"episodes": 12, "support": 16}, "epochs": 3}
    ours = fit(tasks, label, **settings)
    assert steps == [12] * 3
    monkeypatch.undo()
    theirs = fit(tasks, label, **settings)
    for a, b, t in zip(ours, theirs, tasks):
        np.testing.assert_allclose(a.scores(t.valid.x), b.scores(t.valid.x), atol=1e-10)
        assert [h.keys() for h in a.history] == [h.keys() for h in b.history]


@pytest.mark.parametrize("label", ["textcnn", "textrnn"])
def test_networks_of_texts(label, steps, monkeypatch):
    net = backbone(label, **SMALL[label])
    tasks = [ids_task(net, s) for s in range(1 if label == "textrnn" else 2)]
    ours = fit(tasks, net=net, epochs=4, batch_size=8)
    assert steps
    monkeypatch.undo()
    assert_same(ours, fit(tasks, net=net, epochs=4, batch_size=8))


def test_a_run_that_diverges_ends_alone_with_the_same_words(steps, monkeypatch):
    x = task(0).train.x.copy()
    x[3] = np.nan
    bad = replace(task(0), train=Part(x, task(0).train.y, task(0).train.ids))
    ours = fit([task(1), bad], epochs=4)
    assert steps
    monkeypatch.undo()
    good, broken = fit([task(1), bad], epochs=4)
    assert_same(ours[:1], [good])
    assert (ours[1].failure, len(ours[1].history)) == (broken.failure, len(broken.history))
    assert "train_loss is nan at training epoch 1" in broken.failure


def test_rounds_go_on_with_the_same_buffers_and_other_sets_with_new_ones(steps, monkeypatch):
    """Batches of another number and width too."""
    tasks = [task(s, n) for s, n in enumerate(RAGGED)]
    sets = [t.train for t in tasks]
    made = []

    def trained():
        engine, m = Engine(trainer(precision="float64", batch_size=32), "cpu"), method("cross_entropy")
        training = engine.begin(m, tasks, backbone())
        kept = []
        for fed in (sets, sets, sets[::-1], sets[::-1]):
            training.run(fed, 2)
            kept.append(training._fixed and training._fixed[1])
        training.run(sets[::-1], 1, sampler=lambda y, b, g: torch.randperm(len(y), generator=g)[None])
        made.append(kept)
        return training.stack.flat.detach()

    ours = trained()
    first, second, third, fourth = made[0]
    assert first is second and third is fourth and first is not third
    monkeypatch.undo()
    torch.testing.assert_close(ours, trained(), rtol=0, atol=1e-10)


def test_runs_of_several_settings(steps, monkeypatch):
    tasks = [task(s, n) for s, n in enumerate(RAGGED)]
    own = [{"lr": 1e-2, "batch_size": 16}, {"weight_decay": 0.1}, {"schedule": "cosine"}, {"betas": [0.9, 0.99]}]
    trainers = [trainer(**{"precision": "float64", "epochs": 4, "batch_size": 32} | settings) for settings in own]

    def trained():
        engine, m = Engine(trainers[0], "cpu"), method("cross_entropy")
        training = Training(engine.stack(m, tasks, backbone()), m, tasks, trainers)
        training.run([t.train for t in tasks], 4)
        return training.stack.flat.detach()

    ours = trained()
    assert steps
    monkeypatch.undo()
    torch.testing.assert_close(ours, trained(), rtol=0, atol=1e-10)


def test_several_methods_as_one_program(steps, monkeypatch):
    """Among them one whose loss changes after some epochs, and one that reads the epoch and does not say how."""
    tasks = [task(s, n) for s, n in enumerate(RAGGED[:3])]
    m = [method("focal"), method("cross_entropy"), method("ldam_drw")]

    def trained(methods):
        joint = Joint("linear", [(each, 1) for each in methods], [each.sampler for each in methods])
        engine = Engine(trainer(precision="float64", batch_size=32, epochs=4), "cpu")
        made = engine.train(joint, tasks[: len(methods)], [t.train for t in tasks[: len(methods)]], backbone())
        return [c.parameters["last"] for c in made]

    found = [trained(m[:2]), trained(m)]
    taken = len(steps)
    assert taken
    with_epochs = trained([m[0], reads_the_epoch()])
    assert len(steps) == taken
    trained([m[0], reads_the_epoch(), m[2]])
    assert len(steps) == taken
    monkeypatch.undo()
    torch.testing.assert_close([*found, with_epochs], [trained(m[:2]), trained(m), trained([m[0], reads_the_epoch()])])


@pytest.fixture
def counted(steps, monkeypatch):
    """What steps ask of the device, call by call: how many steps, and the counter of them."""
    found = []
    run = Replayed.run

    def counting(self, n=1):
        with simgpu.counting() as counter:
            run(self, n)
        found.append((n, counter))

    monkeypatch.setattr(Replayed, "run", counting)
    return found


COUNTED = [
    ("mlp", {}, "adam", "none", 42),
    ("lenet_small", {"kernel": 2, "conv": [3, 4], "hidden": [12, 8]}, "sgd", "crop_flip", 90),
    ("resnet20", {"depth": 8}, "sgd", "none", 200),
]


@pytest.mark.parametrize(("label", "options", "base", "augment", "most"), COUNTED)
@pytest.mark.parametrize("ragged", [False, True])
def test_a_step_waits_for_nothing_and_copies_nothing(label, options, base, augment, most, ragged, counted, device):
    """Counted over the steps alone: an epoch's plan goes there before them."""
    tasks = [byte_image_task(s, (16 - 9 * ragged * s, 8, 8), 12) for s in range(2)]
    if label == "mlp":
        tasks = [task(s, (24 - 9 * ragged * s, 8), d=8) for s in range(2)]
    fit(tasks, net=backbone(label, **options), base=base, where=device, augment=augment, epochs=3, batch_size=8)
    for n, counter in counted[len(counted) // 3 :]:  # constants of a kind of step are copied in its first one
        assert not counter.waits and not counter.copies
        assert ragged or counter.kernels <= most * n
    assert len(counted) == (6 if ragged else 3)


@pytest.mark.parametrize(("label", "most"), [("mlp", 112), ("lenet_small", 310)])
@pytest.mark.parametrize("ragged", [False, True])
def test_a_meta_step_waits_for_nothing_and_copies_nothing(label, most, ragged, counted, device):
    """With the network's own derivatives, and with autograd's."""
    sizes = [(24 - 9 * ragged * s, 8) for s in range(2)]
    tasks, options = [task(s, n) for s, n in enumerate(sizes)], {}
    if label == "lenet_small":
        tasks, options = [byte_image_task(s, n) for s, n in enumerate(sizes)], {"kernel": 2, "conv": [3, 4]}
    meta = {"meta_epochs": 4, "valid_batch": 8, "synthetic_batch": 4}
    fit(tasks, "explicit_gradient", backbone(label, **options), where=device, options=meta, epochs=1, batch_size=8)
    for n, counter in counted[len(counted) // 2 :]:
        assert not counter.waits and not counter.copies
        assert ragged or counter.kernels <= most * n


def test_the_device_computes_what_the_cpu_does(steps, device):
    tasks = [task(s, n) for s, n in enumerate(RAGGED)]
    assert_same(fit(tasks, epochs=4, where=device), fit(tasks, epochs=4))


@pytest.fixture
def cuda(monkeypatch, device):
    """Graphs on the simulated device: a step that is captured is not run, a replay is the call that was captured."""

    class Graph:
        step = None
        replays = 0

        def replay(self):
            Graph.replays += 1
            Graph.step_of[self]()

    Graph.step_of = {}
    capturing = []

    class Capture:
        def __init__(self, made, pool, capture_error_mode):
            self.made = made

        def __enter__(self):
            capturing.append(self.made)

        def __exit__(self, *_):
            capturing.pop()

    init = Replayed.__init__

    def started(self, step, *args, **kwargs):
        def called():
            if capturing:
                Graph.step_of[capturing[-1]] = step
            else:
                step()

        init(self, called, *args, **kwargs)

    class Stream:
        def wait_stream(self, other):
            pass

    monkeypatch.setattr(Replayed, "__init__", started)
    monkeypatch.setattr(graph, "capturable", lambda device: device.type == "sim")
    monkeypatch.setattr(graph, "ENOUGH", 12)
    for name, made in {
        "CUDAGraph": Graph,
        "graph": Capture,
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: nullcontext(),
        "graph_pool_handle": lambda: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, made)
    return Graph


def test_a_training_is_captured_and_replayed(cuda, device):
    tasks = [task(s, n) for s, n in enumerate(RAGGED)]
    before = Replayed.captured
    ours = fit(tasks, where=device, epochs=6)
    assert Replayed.captured == before + 2  # full batches, and the last ones
    assert cuda.replays == 30 - 2 * graph.WARM
    assert_same(ours, fit(tasks, epochs=6))


def test_meta_steps_are_captured_and_replayed(cuda, device):
    tasks = [task(s, n) for s, n in enumerate(RAGGED[:2])]
    options = {"meta_epochs": 10, "valid_batch": 20, "synthetic_batch": 12}

    def trained(where):
        return fit(tasks, "explicit_gradient", options=options, where=where, epochs=1, batch_size=16)

    before = Replayed.captured
    ours = trained(device)
    assert Replayed.captured == before + 5  # kinds: full batches or last ones, of training rows and of copies
    assert cuda.replays == 80 - 5 * graph.WARM
    assert_same(ours, trained("cpu"))


def test_steps_of_gans_wait_for_nothing(steps, device):
    """Twice as many of them: the same waits and copies."""
    counts = []
    for size in (32, 16):
        with simgpu.counting() as counter:
            gans([task(s, (48, 16)) for s in range(2)], where=device, epochs=1, ac_epochs=0, batch_size=size)
        counts.append((counter.waits.total(), counter.copies.total()))
    assert counts[0] == counts[1]
    assert sum(steps) == 2 + 1 + 4 + 2  # the generator's: every third, from the first


@pytest.mark.parametrize("wish", ["auto", "false"])
def test_the_record_says_whether_steps_were_graphs(wish, cuda, device, tmp_path):
    options = [
        "dataset=breast_cancer",
        "protocol.folds=2",
        "trainer.epochs=4",
        "trainer.batch_size=32",
        f"trainer.graph={wish}",
    ]
    outcome = run_cell(cell(tmp_path, *options, f"device={device}"))
    assert Store(tmp_path).cell(outcome.labels, outcome.path.name).record()["graphed"] is (wish == "auto")


def test_few_steps_are_not_worth_a_capture_unless_asked_for(cuda, device):
    fit([task(0)], where=device, epochs=2)
    assert not cuda.replays
    fit([task(0)], where=device, epochs=2, graph=True, batch_size=16)
    assert cuda.replays
    replays = cuda.replays
    fit([task(0)], where=device, epochs=4, graph=False)
    assert cuda.replays == replays


def broken(monkeypatch, error):
    """Captures that fail."""

    class Fails:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            raise error

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(torch.cuda, "graph", Fails)
    graph._warn.cache_clear()


def test_a_capture_that_fails_is_said_once_and_the_step_is_called(cuda, device, monkeypatch, caplog):
    broken(monkeypatch, RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore"))
    before = Replayed.captured
    with caplog.at_level(logging.WARNING, "imbalance_bench"):
        ours = [fit([task(0)], where=device, epochs=6), fit([task(0)], where=device, epochs=6)]
    assert len(caplog.records) == 1
    assert "operation not permitted when stream is capturing" in caplog.text and "more" not in caplog.text
    assert Replayed.captured == before
    for found in ours:
        assert_same(found, fit([task(0)], epochs=6))


def test_a_capture_that_fails_is_an_error_where_graphs_are_asked_for(cuda, device, monkeypatch):
    broken(monkeypatch, RuntimeError("no"))
    with pytest.raises(BenchError, match=r"could not be captured \(no\): set trainer.graph=auto"):
        fit([task(0)], where=device, graph=True)


def test_memory_that_runs_out_in_a_capture_halves_the_runs_as_elsewhere(cuda, device, monkeypatch):
    broken(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        fit([task(0)], where=device, epochs=6)


def test_a_cpu_has_no_graphs():
    with pytest.raises(BenchError, match="the device is cpu, and only CUDA has graphs: set trainer.graph=auto"):
        Engine(trainer(graph=True), "cpu")


@pytest.mark.parametrize(
    ("label", "settings", "words"),
    [
        ("meta_weight_net", {}, "method=meta_weight_net"),
        ("cross_entropy", {"backend": "sequential"}, "trainer.backend=sequential has none"),
    ],
)
def test_what_cannot_have_graphs_says_so_where_they_are_asked_for(label, settings, words, cuda, device):
    with pytest.raises(BenchError, match=f"trainer.graph=true asks for .* {words}.*: set trainer.graph=auto"):
        fit([task(0)], label, where=device, graph=True, **settings)
    if label == "meta_weight_net":
        fit([task(0)], label, where=device, epochs=4)
        assert not cuda.replays


def test_a_loss_that_reads_the_epoch_is_not_captured(steps):
    reads_the_epoch().fit([task(0)], backbone(), Engine(trainer(epochs=3), "cpu"))
    assert not steps


def test_a_loss_that_needs_the_host_is_not_captured_in_a_meta_step(steps):
    class Host(type(method("explicit_gradient"))):
        graphed = False

    made = Host(**vars(method("explicit_gradient", meta_epochs=2)))
    made.fit([task(0)], backbone(), Engine(trainer(epochs=1), "cpu"))
    assert not steps


def reads_the_epoch():
    class Warm(type(method("cross_entropy"))):
        def loss(self, logits, labels, state):
            return super().loss(logits, labels, state) * (state.epoch + 1)

    return Warm()
