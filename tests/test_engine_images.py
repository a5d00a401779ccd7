"""What images need of the engine: bytes on the device, augmentation, schedules, running statistics, chunks of runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imbalance_bench.backbones.network import BatchNorm
from imbalance_bench.cells.recipe import fit_in_chunks
from imbalance_bench.data.base import Part
from imbalance_bench.engine import Engine
from imbalance_bench.engine.augment import CROP, crop_flip, shift_flip
from imbalance_bench.engine.batches import Batch, Rows
from imbalance_bench.engine.schedule import learning_rate
from imbalance_bench.engine.stack import Stack
from imbalance_bench.errors import BenchError
from tests.tasks import backbone, method, task, trainer

CPU = torch.device("cpu")


def bytes_task(seed: int, n: tuple[int, ...] = (20, 9, 5), shape: tuple[int, ...] = (3, 16, 16)):
    """Random images of bytes; ``seed`` also gives the labels' rows."""
    made = task(seed, n)
    rng = np.random.default_rng(seed)

    def images(part: Part) -> Part:
        return replace(part, x=rng.integers(0, 256, (len(part), *shape), dtype=np.uint8))

    return replace(made, train=images(made.train), valid=images(made.valid))


TASKS = [bytes_task(0), bytes_task(1, (17, 8, 6))]


def fit(tasks, net, label="cross_entropy", **options):
    settings = {"precision": "float64", "batch_size": 8, "epochs": 2, "runs_together": None} | options
    return method(label).fit(tasks, backbone(net), Engine(trainer("sgd", **settings), "cpu"))


@pytest.mark.parametrize("augment", ["none", "shift_flip", "crop_flip"])
@pytest.mark.parametrize("net", ["keras_cnn", "resnet20_v2"])
def test_runs_trained_together_are_those_trained_alone_and_those_of_torch_optim(net, augment):
    """Dropout, batch statistics and augmentation included."""
    options = {"augment": augment, "epochs": 1, "batch_size": 12, "weight_decay": 1e-4}
    together = fit(TASKS, net, **options)
    for t, joint in zip(TASKS, together):
        (alone,) = fit([t], net, **options)
        (oracle,) = fit([t], net, **options, backend="sequential")
        for other in (alone, oracle):
            torch.testing.assert_close(other.parameters["last"], joint.parameters["last"], rtol=0, atol=1e-9)
            np.testing.assert_allclose(other.scores(t.valid.x), joint.scores(t.valid.x), atol=1e-9)


def test_layouts_change_nothing_but_rounding():
    (a,), (b,) = fit(TASKS[:1], "resnet20", epochs=1), fit(TASKS[:1], "resnet20", epochs=1, channels_last=True)
    np.testing.assert_allclose(a.scores(TASKS[0].valid.x), b.scores(TASKS[0].valid.x), atol=1e-9)


def test_bytes_stay_bytes_on_the_device_and_reach_the_network_as_shares_of_255():
    rows = Rows([TASKS[0].train], CPU, torch.float32)
    assert rows.x.dtype == torch.uint8
    x, _ = rows.take(torch.tensor([[3, 1]]))
    np.testing.assert_array_equal(x[0].numpy(), TASKS[0].train.x[[3, 1]].astype(np.float32) / 255)
    (made,) = fit(TASKS[:1], "lenet_small")
    as_floats = TASKS[0].valid.x / np.float64(255)
    np.testing.assert_allclose(made.scores(TASKS[0].valid.x), made.scores(as_floats), atol=1e-12)


def batch(sizes: list[int], side: int = 10) -> Batch:
    width = max(sizes)
    x = torch.arange(2 * width * 3 * side * side, dtype=torch.float64).view(2, width, 3, side, side) + 1
    zeros = torch.zeros(2, width).long()
    return Batch(x, zeros, zeros, None, None, torch.zeros(2, 1).long(), sizes)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(s) for s in seeds]


def test_crops_are_windows_of_the_padded_image_mirrored_half_of_the_time():
    given = batch([40, 40])
    moved = crop_flip(given, generators(0, 1)).x
    padded = torch.nn.functional.pad(given.x, (CROP,) * 4)
    seen = set()
    for r in range(2):
        for i in range(40):
            windows = {
                (top, left, mirror): padded[r, i, :, top : top + 10, left : left + 10].flip(-1)
                if mirror
                else padded[r, i, :, top : top + 10, left : left + 10]
                for top in range(9) for left in range(9) for mirror in (0, 1)
            }  # fmt: skip
            found = [key for key, window in windows.items() if torch.equal(window, moved[r, i])]
            assert len(found) == 1
            seen.add(found[0])
    assert len({key[:2] for key in seen}) > 30
    assert 20 < sum(key[2] for key in seen) < 60


def test_shifts_reach_a_fifth_and_repeat_the_border():
    given = batch([60, 60])
    moved = shift_flip(given, generators(0, 1)).x
    tops = set()
    for i in range(60):
        # Values grow by 10 a row and by 1 a column: tens say how far the image went downwards.
        rows = ((moved[0, i, 0].min(1).values - given.x[0, i, 0, 0, 0]) / 10).floor()
        top = int((rows - torch.arange(10)).mode().values)
        expected = (torch.arange(10) + top).clamp(0, 9).double()
        torch.testing.assert_close(rows, expected)
        tops.add(top)
    assert tops == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize("backend", ["stacked", "sequential"])
@pytest.mark.parametrize("augment", ["crop_flip", "shift_flip"])
def test_rows_that_are_no_images_are_not_moved(augment, backend):
    with pytest.raises(BenchError, match=rf"augment={augment} moves images .* \(4,\): set trainer\.augment=none"):
        fit([task()], "mlp", augment=augment, backend=backend)


def test_what_a_run_draws_does_not_depend_on_the_width_of_the_batch_that_others_need():
    g1, g2 = generators(0, 1), generators(0, 1)
    wide, narrow = batch([12, 5]), batch([12, 5])
    first = shift_flip(wide, g1).x[1, :5]
    alone = shift_flip(narrow._replace(x=narrow.x[1:, :5], sizes=[5]), g2[1:]).x[0]
    assert torch.equal(first, alone)
    assert torch.equal(g1[1].get_state(), g2[1].get_state())


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"schedule": "constant"}, {(0, 0): 0.1, (9, 90): 0.1}),
        ({"schedule": "step", "milestones": [0.8, 0.9], "gamma": 0.01}, {(7, 0): 0.1, (8, 0): 1e-3, (9, 0): 1e-5}),
        ({"schedule": "cosine"}, {(0, 0): 0.1, (5, 0): 0.05}),
        ({"schedule": "inverse_time", "decay": 1e-3}, {(0, 0): 0.1, (3, 1000): 0.05}),
        ({"warmup_epochs": 5}, {(0, 0): 0.02, (4, 0): 0.1, (5, 0): 0.1}),
    ],
)
def test_learning_rates(options, expected):
    settings = trainer("sgd", lr=0.1, epochs=10, **options)
    for (epoch, step), rate in expected.items():
        assert learning_rate(settings, epoch, step) == pytest.approx(rate)


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"warmup_epochs": 2}, {(0, 0.9): 0.05, (1, 0.9): 0.1, (2, 0.5): 0.1}),
        ({"warmup_epochs": 1}, {(0, 0.0): 0.1, (0, 0.9): 0.1}),
        ({"schedule": "cosine"}, {(0, 0.0): 0.1, (4, 1.0): 0.05, (5, 0.0): 0.05, (9, 1.0): 0.0}),
        ({"schedule": "coslog4"}, {(0, 0.0): 0.0, (0, (2**0.5 - 1) / 1.5): 0.1, (9, 1.0): 0.0}),
        ({"schedule": "step", "milestones": [0.25], "gamma": 0.1}, {(2, 0.4): 0.1, (2, 0.5): 0.01}),
    ],
)
def test_a_rate_within_an_epoch_follows_the_schedule_and_never_passes_its_top(options, expected):
    settings = trainer("sgd", lr=0.1, epochs=10, **options)
    for (epoch, within), rate in expected.items():
        assert learning_rate(settings, epoch, 0, within) == pytest.approx(rate, abs=1e-12)
    assert all(learning_rate(settings, epoch, 0, w / 7) <= 0.1 + 1e-12 for epoch in range(10) for w in range(7))


@pytest.mark.parametrize("share, epochs", [(0.55, 200), (0.07, 100), (0.29, 100), (0.8, 200)])
def test_a_drop_comes_at_its_epoch_however_the_product_is_rounded(share, epochs):
    """0.55 * 200 is a little above 110, 0.29 * 100 a little below 29."""
    settings = trainer("sgd", lr=0.1, epochs=epochs, schedule="step", milestones=[share], gamma=0.01)
    rates = [learning_rate(settings, epoch, 0) for epoch in range(epochs)]
    assert rates.index(pytest.approx(1e-3)) == round(share * epochs)


def test_running_statistics_ride_along_and_are_used_in_evaluation():
    net = backbone("resnet20")
    stack = Stack.create(lambda: net.build((3, 8, 8), 4), [0, 1], CPU, torch.float64)
    assert set(stack.buffers) == {n for n, _ in stack.module.named_buffers()}
    before = stack.flat.detach().clone()
    x = torch.rand(2, 6, 3, 8, 8, dtype=torch.float64)
    stack(x)
    size = stack.weights.shape[1]
    assert torch.equal(stack.flat[:, :size], before[:, :size])
    assert not torch.equal(stack.flat[:, size:], before[:, size:])
    with torch.no_grad():
        assert torch.equal(stack.predict(stack.flat[0], x[0]), stack.predict(stack.flat[0], x[0]))
    assert not torch.allclose(stack.predict(before[0], x[0]), stack.predict(stack.flat[0].detach(), x[0]))


@pytest.mark.parametrize("sizes", [None, (6, 6), (6, 4), (6, 0)])
@pytest.mark.parametrize("runs", [1, 2])
def test_running_statistics_of_all_layers_at_once_are_those_of_each_alone(sizes, runs):
    """The same bits; of a network whose layers differ in momentum too, which are updated one by one."""
    x = torch.rand(runs, 6, 3, 8, 8)
    found = []
    for way in ("at once", "alone"):
        stack = Stack.create(lambda: backbone("resnet20").build((3, 8, 8), 4), list(range(runs)), CPU, torch.float32)
        if way == "alone":
            stack.traits = replace(stack.traits, settled=())
        for _ in range(2):
            with stack.attending(sizes and sizes[:runs]):
                stack(x)
        found.append(stack.flat.detach())
    assert torch.equal(*found)
    if runs == 2 and sizes == (6, 0):
        first = Stack.create(lambda: backbone("resnet20").build((3, 8, 8), 4), [0, 1], CPU, torch.float32).flat
        assert torch.equal(found[0][1], first[1]), "a run without rows stays as it is"


def test_layers_of_several_momenta_keep_their_own():
    net = torch.nn.Sequential(BatchNorm(3, momentum=0.1), BatchNorm(3, momentum=0.5))
    stack = Stack.create(lambda: net, [0], CPU, torch.float64)
    x = torch.rand(1, 5, 3, 2, 2, dtype=torch.float64)
    stack(x)
    torch.testing.assert_close(stack.buffers["0.running_mean"][0], 0.1 * x[0].mean((0, 2, 3)))
    torch.testing.assert_close(stack.buffers["1.running_mean"][0], torch.zeros(3, dtype=torch.float64))
    # Of 20 normalised numbers.
    assert stack.buffers["1.running_var"][0].tolist() == pytest.approx([0.5 + 0.5 * 20 / 19] * 3, abs=1e-3)


def test_bfloat16_is_for_products_only():
    (made,) = fit(TASKS[:1], "lenet_small", precision="bfloat16", epochs=1)
    assert made.parameters["last"].dtype == torch.float32
    assert np.isfinite(made.scores(TASKS[0].valid.x)).all()


def test_runs_that_do_not_fit_into_memory_together_are_trained_in_halves():
    asked = []

    def fit_some(tasks):
        asked.append(len(tasks))
        if len(tasks) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(tasks)

    made, sizes = fit_in_chunks(fit_some, range(10), 10)
    assert (made, sizes, asked) == (list(range(10)), [10, 5, 3], [10, 5, 3, 3, 3, 1])


def test_a_run_that_does_not_fit_alone_says_what_to_lower():
    def never(tasks):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(BenchError, match="lower trainer.batch_size"):
        fit_in_chunks(never, range(2), 2)


def test_convolutions_are_trained_one_run_at_a_time_on_a_cpu():
    engine = Engine(trainer(), "cpu")
    assert engine.together(backbone("lenet_small"), TASKS[0]) == 1
    assert engine.together(backbone("mlp"), TASKS[0]) is None
