"""The benches, small: that every row comes out, of how much, and that what is timed is the training alone."""

from __future__ import annotations

import re

import hydra
import pytest
import torch

from imbalance_bench.bench import command, compare, convolutions, episodes, images, scale, sweeps, tabular, texts
from imbalance_bench.store import Store
from imbalance_bench.store.index import entries_of
from tests import records

CPU = torch.device("cpu")

ROWS = {  # what is measured, and the rows that come out
    "plain steps": (lambda: tabular.plain_steps(8, 1), ["(a)", "(b)", "(c)", "(d)", "(d)"]),
    "meta steps": (lambda: tabular.meta_steps(8, 1), ["cre", "our", "our"]),
    "images": (lambda: images.throughput(images.LENET, 120, 2, CPU, 1), ["(a)", "(b)", "(c)", "(d)", "(e)"]),
    "Deep Over-sampling": (lambda: images.over_sampling(450, CPU, 1), ["cnn", "dos", "cnn"]),
    "episodes": (lambda: episodes.speeds(2, 2, CPU, 1), ["(a)", "(b)", "(c)", "(d)"]),
    "texts": (lambda: texts.throughput(64, 6, CPU, 1), ["(a)", "(b)", "(c)", "(d)", "(e)"]),
    "writing": (lambda: texts.writing(CPU, 1), ["(a)", "(b)", "(c)", "(d)"]),
}


@pytest.mark.parametrize("measure, rows", ROWS.values(), ids=ROWS)
def test_every_row_has_a_rate_and_no_option_is_read_while_the_clock_runs(measure, rows, monkeypatch):
    """Hydra takes as long to compose them as some hundred steps take."""

    def once(rivals, rounds):
        with monkeypatch.context() as patch:
            for module, name in ((hydra, "compose"), (compare, "content_of")):
                patch.setattr(module, name, lambda *_, **__: pytest.fail("reads options within what is timed"))
            return {name: float(rival()) for name, rival in rivals.items()}

    for module in (tabular, images, episodes, texts):
        monkeypatch.setattr(module, "compare", once)
    for size, small in {"STEPS": 2, "RUNS": (1, 2)}.items():
        monkeypatch.setattr(tabular, size, small)
    made = measure()
    assert [name[:3] for name in made] == rows
    assert min(made.values()) > 0


@pytest.mark.slow
def test_the_whole_command_and_the_script_beside_it_run():
    assert min(command.speeds(2, 1, 1).values()) > 0


def test_the_rates_are_medians_of_interleaved_rounds():
    called = []
    rates = compare.compare(
        {name: lambda name=name: called.append(name) or len(name) for name in ("a", "bb")}, rounds=3
    )
    assert called == ["a", "bb"] * 4  # once to warm up
    assert list(rates) == ["a", "bb"] and min(rates.values()) > 0


@pytest.mark.parametrize("layer", convolutions.LAYERS)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_all_ways_to_convolve_are_one(layer, dtype, tolerance):
    x, weight = convolutions.operands(layer, 2, torch.empty(0, dtype=dtype))
    x = x[:, :3]
    found = {}
    for name, way in convolutions.WAYS.items():
        out = way(x, weight)
        found[name] = [out, *torch.autograd.grad(out.square().mean(), (x, weight))]
    for outputs in found.values():
        for a, b in zip(outputs, found["in turn"]):
            assert (a - b).abs().max() <= tolerance * b.abs().max()


def test_over_sampling_is_measured_on_as_many_images_as_asked_for(monkeypatch, capsys):
    def of_lenet(subject, n, *_):
        return {f"(c) {subject[0]}, 1 run": float(n)}

    monkeypatch.setattr(images, "throughput", of_lenet)
    monkeypatch.setattr(images, "over_sampling", lambda n, *_: {"cnn": 4.0, "dos": 2.0, "cnn/oversampled": n / 50_000})
    images.main(rounds=1, images=50_000)
    shown = capsys.readouterr().out
    assert "lenet_small, 50000 images a run and pass" in shown
    assert "Deep Over-sampling, 50000 images" in shown
    assert "DOS +100 %, the CNN on as large a set +300 %" in shown


@pytest.mark.slow
def test_a_sweep_is_timed_whole(real_data, monkeypatch):
    """On the clock and of processors: the command, its start and its cells."""
    monkeypatch.setenv("IMBALANCE_BENCH_DATA", str(real_data("ecoli")))
    clock, spent, cells = sweeps.sweep(
        sweeps.LAUNCHERS["together"], ["dataset=ecoli", f"method={','.join(sweeps.METHODS[::5])}"], epochs=1
    )
    assert (cells, clock > 0, spent > 0) == (2, True, True)


def test_composing_the_jobs_of_a_sweep_is_measured_without_training():
    assert re.fullmatch(r"\d+\.\d s, \d+ MB", sweeps.composed(["method=focal", "seed=range(3)"]))


@pytest.mark.slow
def test_a_long_sweep_says_what_its_cells_cost(real_data, monkeypatch, capsys):
    monkeypatch.setenv("IMBALANCE_BENCH_DATA", str(real_data("ecoli")))
    sweeps.long(1, 20)
    _, _, *lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines]
    assert [row[0] for row in rows] == [str(number) for number in range(1, 21)]
    assert all(0 < float(job) < float(cell) and float(held) > 10 for _, cell, job, held, _ in rows)


def test_a_folder_grows_to_a_size_of_cells_that_count(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "DATASETS", 2)
    records.write(tmp_path / "trained", records.cell("focal"), [0.5, 0.6])
    (record,) = Store(tmp_path / "trained").records()
    of = [(record, {"metrics.csv": (record["path"] / "metrics.csv").read_bytes()})]
    scale.grow(tmp_path, of, 0, 3)
    scale.grow(tmp_path, of, 3, 12)
    entries, damaged = entries_of(Store(tmp_path))
    assert (len(entries), damaged) == (12, [])
    assert len({entry.labels["dataset"] for entry in entries}) == 2
    clock, spent, most = scale.called("status", "--outputs", str(tmp_path))
    assert clock > 0 and spent > 0 and most > 10
