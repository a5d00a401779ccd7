"""The benches of images and of texts, small: that every row comes out, and of how much."""

from __future__ import annotations

import pytest
import torch

from imbalance_bench.bench import compare, images
from imbalance_bench.bench.images import LENET, over_sampling, throughput
from imbalance_bench.bench.texts import writing
from imbalance_bench.config import label_of
from tests.tasks import option, options_of

CPU = torch.device("cpu")


@pytest.mark.parametrize("group", ["method", "backbone", "trainer"])
def test_options_are_read_without_hydra_as_hydra_reads_them(group):
    read = {name: compare.option(group, name) for name in options_of(group)}
    of_one_group = {name: found for name, found in read.items() if group not in found}
    assert len(of_one_group) >= len(read) - 5
    # Hydra takes 30 ms each: some of them, and those that hold a number with an exponent.
    some = list(of_one_group)[::6] + (["adam", "setconv"] if group == "trainer" else [])
    assert {name: read[name] for name in some} == {name: option(group, label_of(name)) for name in some}


def test_every_row_of_the_bench_of_images_has_a_rate():
    rates = throughput(LENET, 120, 2, CPU, rounds=1)
    assert [name[:3] for name in rates] == ["(a)", "(b)", "(c)", "(d)", "(e)"]
    assert min(rates.values()) > 0
    rates = over_sampling(450, CPU, rounds=1)
    assert list(rates) == ["cnn", "dos", "cnn/oversampled"]
    assert min(rates.values()) > 0


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


def test_every_row_of_the_bench_of_writing_has_a_rate():
    rates = writing(CPU, rounds=1)
    assert [name[:3] for name in rates] == ["(a)", "(b)", "(c)", "(d)"]
    assert min(rates.values()) > 0
