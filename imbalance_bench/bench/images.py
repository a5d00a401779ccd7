"""Images: convolutional networks, runs one after the other and together, and what Deep Over-sampling adds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from imbalance_bench.bench.compare import compare, counted, option, show, trainer
from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine import Engine
from imbalance_bench.registry import BACKBONES, METHODS
from imbalance_bench.running.devices import choose_device

LENET = ("lenet_small", (1, 28, 28), "dos_mnist")  # backbone, images, trainer: the cells of DOS on MNIST
RESNET = ("resnet20", (3, 32, 32), "cifar_ldam")  # batches of 128, crops and flips


def setting(n: int, shape: tuple[int, ...], seed: int = 0) -> Task:
    """n random images of ten classes, of which four have lost nine tenths, and as good as no validation part."""
    rng = np.random.default_rng(seed)
    share = np.array([1.0] * 6 + [0.1] * 4)

    def part(n: int) -> Part:
        y = rng.choice(10, n, p=share / share.sum())
        return Part(rng.integers(0, 256, (n, *shape), dtype=np.uint8), y, np.arange(n))

    return Task(part(n), part(100), None, 10, "classification", 0, 0, seed, minority_classes=(6, 7, 8, 9))


def pil_loop(task: Task, backbone: Any, settings: Any, device: torch.device) -> None:
    """(a) The loop as it is usually written: PIL images, torchvision transforms, DataLoader, loss.item()."""
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    moves = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    transform = transforms.Compose([*(moves if settings.augment == "crop_flip" else []), transforms.ToTensor()])

    class Images(Dataset):
        def __len__(self) -> int:
            return len(task.train)

        def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
            pixels = task.train.x[i].transpose(1, 2, 0)
            return transform(Image.fromarray(pixels.squeeze())), int(task.train.y[i])

    net = backbone.build(task.train.x.shape[1:], 10).to(device)
    optimiser = torch.optim.SGD(net.parameters(), lr=settings.lr, momentum=settings.momentum)
    for x, y in DataLoader(Images(), settings.batch_size, shuffle=True):
        optimiser.zero_grad()
        loss = F.cross_entropy(net(x.to(device)), y.to(device))
        loss.backward()
        optimiser.step()
        loss.item()


def resident_loop(task: Task, backbone: Any, settings: Any, device: torch.device) -> None:
    """(b) All images as one float tensor on the device, batches by a permutation; crops and flips of whole batches."""
    xs = torch.as_tensor(task.train.x).to(device).float() / 255
    ys = torch.as_tensor(task.train.y).to(device)
    net = backbone.build(task.train.x.shape[1:], 10).to(device)
    optimiser = torch.optim.SGD(net.parameters(), lr=settings.lr, momentum=settings.momentum)
    for rows in torch.randperm(len(xs), device=device).split(settings.batch_size):
        x = xs[rows]
        if settings.augment == "crop_flip":
            top, left = torch.randint(9, (2,)).tolist()  # one window a batch: the least that such a loop can do
            x = F.pad(x, (4, 4, 4, 4))[..., top : top + 32, left : left + 32]
        optimiser.zero_grad()
        F.cross_entropy(net(x), ys[rows]).backward()
        optimiser.step()


def ours(tasks: list[Task], backbone: Any, engine: Engine, method: Any) -> None:
    """(c) This package, all tasks as one program, or one after the other where the engine says so (CPU)."""
    together = engine.together(backbone, tasks[0]) or len(tasks)
    for first in range(0, len(tasks), together):
        method.fit(tasks[first : first + together], backbone, engine)


def throughput(
    subject: tuple[str, tuple[int, ...], str], n: int, runs: int, device: torch.device, rounds: int
) -> dict[str, float]:
    """Images a second of one pass, all runs counted."""
    label, shape, named = subject
    tasks = [setting(n, shape, seed) for seed in range(runs)]
    backbone, method = BACKBONES.build(option("backbone", label)), METHODS.get("cross_entropy")()

    def of(count: int, **options: Any) -> Callable[[], int]:
        engine = Engine(trainer(named, 1, warmup_epochs=0, **options), device.type)
        return counted(partial(ours, tasks[:count], backbone, engine, method), n * count)

    plain = trainer(named, 1, warmup_epochs=0)
    rivals = {
        "(a) PIL DataLoader": counted(partial(pil_loop, tasks[0], backbone, plain, device), n),
        "(b) resident, one run": counted(partial(resident_loop, tasks[0], backbone, plain, device), n),
        "(c) ours, one run": of(1),
        f"(d) ours, {runs} runs in turn": of(runs, runs_together=1),
        f"(e) ours, {runs} runs together": of(runs, runs_together=runs),
    }
    if device.type == "cuda":
        from torch._dynamo import config

        config.recompile_limit = 64  # all networks are compiled from one function, of which torch keeps 8 variants
        for precision in ("float32", "bfloat16"):
            for count in (1, runs):
                fast = {"precision": precision, "channels_last": True, "compile": True}
                rivals[f"(f) {count} run(s), {precision}, compiled"] = of(count, runs_together=count, **fast)
    return compare(rivals, rounds)


def over_sampling(n: int, device: torch.device, rounds: int) -> dict[str, float]:
    """Cells a second of the plain CNN of the DOS paper, of DOS, and of the CNN on DOS's enlarged set."""
    label, shape, named = LENET
    task, engine, backbone = setting(n, shape), Engine(trainer(named, 6), device.type), option("backbone", label)
    rivals = {}
    for name in ("cnn", "dos", "cnn/oversampled"):
        method = METHODS.build(option("method", name) | {"decisions": []})
        rivals[name] = counted(partial(ours, [task], BACKBONES.build(backbone), engine, method), 1)
    return compare(rivals, rounds)


def main(rounds: int, images: int | None = None) -> None:
    """Prints every comparison; ``images``: how many LeNet, and so Deep Over-sampling, is trained on."""
    device = choose_device("auto")
    gpu = device.type == "cuda"
    n_lenet, n_resnet = (30_000, 50_000) if gpu else (3_000, 384)
    n_lenet = images or n_lenet
    print(f"Images on {torch.cuda.get_device_name() if gpu else 'the CPU'}: images a second, all runs counted")
    for subject, n, runs in ((LENET, n_lenet, 10), (RESNET, n_resnet, 5)):
        found = throughput(subject, n, runs, device, rounds)
        show(f"{subject[0]}, {n} images a run and pass", {f"batch {trainer(subject[2], 1).batch_size}": found})
        if gpu and subject is RESNET:
            print(
                f"a pass of 50,000 images, one run: {50_000 / max(v for k, v in found.items() if '1 run' in k):.2f} s"
            )
    speeds = over_sampling(n_lenet, device, rounds)
    more = {name: 100 * (speeds["cnn"] / speed - 1) for name, speed in speeds.items()}
    print(f"\nDeep Over-sampling, {n_lenet} images, four classes at a tenth, 3 + 3 passes: time beyond the plain CNN's")
    print(f"DOS {more['dos']:+.0f} %, the CNN on as large a set {more['cnn/oversampled']:+.0f} %")
