"""Steps a second of small networks: as people write the loop, ours called kernel by kernel, ours as a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from imbalance_bench.bench import episodes, images, tabular
from imbalance_bench.bench.compare import counted, trainer
from imbalance_bench.bench.gpu import made
from imbalance_bench.bench.gpu.sections import Setting, ratio, speeds
from imbalance_bench.data.base import Task
from imbalance_bench.engine import Engine

RUNS = (1, 4, 40)
TABLES = (8, 74, 617)  # features
IMAGES = 50_000  # of a pass of CIFAR-10


def training(tasks: Sequence[Task], net: Any, settings: Any, setting: Setting, epochs: int) -> Callable[[], int]:
    """Epochs of plain training that go on where the last ones ended; returns how many rows were trained on."""
    begun = Engine(settings, str(setting.device)).begin(made.method("cross_entropy"), tasks, net)
    sets = [task.train for task in tasks]
    return counted(lambda: begun.run(sets, epochs), epochs * sum(map(len, sets)))


def graphs(setting: Setting) -> dict[str, Any]:
    """Spellings of ``trainer.graph``, by what a row of the table says; a CPU has no graphs."""
    return {"ours": False} | ({"ours, as a graph": True} if setting.gpu else {})


def plain(setting: Setting) -> dict[str, Any]:
    """Run-steps a second of the MLP."""
    steps, epochs = tabular.STEPS, setting.sized(10, 1)
    found: dict[str, Any] = {}
    for d in TABLES[: setting.sized(3, 1)]:
        tasks = [tabular.setting(d, s) for s in range(max(RUNS))]
        loop = partial(tabular.resident_loop, tasks[0], epochs, setting.device)
        rivals = {"a loop over rows on the device, R = 1": counted(loop, epochs * steps)}
        for runs in RUNS[: setting.sized(3, 2)]:
            for name, graph in graphs(setting).items():
                settings = trainer("adam", 10**6, batch_size=tabular.BATCH, graph=graph)
                ours = training(tasks[:runs], made.backbone(), settings, setting, epochs)
                rivals[f"{name}, R = {runs}"] = counted(ours, epochs * steps * runs)
        found[f"d = {d}"] = speeds(rivals, setting)
    return {"run-steps a second": found}


def meta(setting: Setting) -> dict[str, Any]:
    """Run-steps a second of the meta phase of Explicit Gradient."""
    steps, epochs = tabular.STEPS, setting.sized(5, 1)
    found: dict[str, Any] = {}
    for d in TABLES[: setting.sized(3, 1)]:
        tasks = [tabular.setting(d, s) for s in range(max(RUNS))]
        loop = partial(tabular.create_graph_loop, tasks[0], epochs, setting.device)
        rivals = {"a loop with create_graph, R = 1": counted(loop, epochs * steps)}
        for runs in RUNS[: setting.sized(3, 2)]:
            few = tasks[:runs]
            for name, graph in graphs(setting).items():
                engine = Engine(trainer("adam", 1, batch_size=tabular.BATCH, graph=graph), str(setting.device))
                many = epochs * (20 if graph else 1)  # a meta phase captures its graphs once
                method = made.method("explicit_gradient", meta_epochs=many, valid_batch=tabular.BATCH)
                pretrained = engine.train(method, few, [t.train for t in few], made.backbone())
                starts = [method.start(t, p) for t, p in zip(few, pretrained)]
                adapt = partial(method.adapt, few, starts, pretrained, engine)
                rivals[f"{name}, R = {runs}"] = counted(adapt, many * steps * runs)
        found[f"d = {d}"] = speeds(rivals, setting)
    return {"run-steps a second": found}


def lenet(setting: Setting) -> dict[str, Any]:
    """Images a second of a cell of ten runs, all runs counted: one at a time as people write it, ours in turn,
    together, and together as a graph."""
    label, shape, named = images.LENET
    runs, n = setting.sized(10, 2), setting.sized(6000, 120)
    tasks = [made.pictures(n, shape, s) for s in range(runs)]
    net = made.backbone(label)
    settings = partial(trainer, named, 10**6, warmup_epochs=0)
    loop = partial(images.resident_loop, tasks[0], net, settings(), setting.device)
    in_turn = [training([task], net, settings(graph=False), setting, 1) for task in tasks]
    rivals: dict[str, Callable[[], int]] = {
        "a loop over images on the device, one run": counted(loop, n),
        "ours, one after the other": lambda: sum(one() for one in in_turn),
    }
    for name, graph in graphs(setting).items():
        rivals[f"{name}, together"] = training(tasks, net, settings(graph=graph), setting, 1)
    found = speeds(rivals, setting)
    best = list(rivals)[-1]
    return {
        "images a second": found,
        "together, times one at a time (goal 5)": ratio(found, best, next(iter(rivals))),
        "together, times ours in turn": ratio(found, best, "ours, one after the other"),
    }


def resnet(setting: Setting) -> dict[str, Any]:
    """Seconds of a pass of 50,000 images a run (goal 2), scaled from fewer."""
    label, shape, named = images.RESNET
    n = setting.sized(128 * 98, 20)
    net = made.backbone(label, **({"depth": 8} if setting.quick else {}))
    rivals = {}
    for runs in (1, 5)[: setting.sized(2, 1)]:
        tasks = [made.pictures(n, shape, s) for s in range(runs)]
        for precision in ("float32", "tf32", "bfloat16")[: setting.sized(3, 1)]:
            for name, graph in graphs(setting).items():
                arithmetic = {"precision": precision, "channels_last": precision == "bfloat16"}
                settings = trainer(named, 10**6, warmup_epochs=0, graph=graph, **arithmetic)
                rivals[f"{runs} run(s), {precision}, {name}"] = training(tasks, net, settings, setting, 1)
    found = speeds(rivals, setting)
    together = ("5 run(s), float32, ours, as a graph", "1 run(s), float32, ours, as a graph")
    return {
        "seconds of a pass of 50,000 images": {name: IMAGES / v if v else None for name, v in found.items()},
        "five together, times one (goal 2)": ratio(found, *together),
    }


def setconv(setting: Setting) -> dict[str, Any]:
    """Episodes a second of ten repeats, all counted."""
    tasks = [episodes.setting(s) for s in range(setting.sized(10, 2))]
    n = setting.sized(500, 10)
    loop = partial(episodes.module_loop, episodes.ProductLayer, tasks[0], n, setting.device)
    rivals = {"a loop, one repeat": counted(loop, n)}
    for name, graph in graphs(setting).items():
        method = made.method("setconv", episodes=n)
        engine = Engine(trainer("setconv", 1, graph=graph), str(setting.device))
        rivals[name] = counted(partial(method.fit, tasks, made.backbone(), engine), n * len(tasks))
    return {"episodes a second": speeds(rivals, setting)}
