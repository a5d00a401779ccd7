"""Claims on synthetic tables with known answers, and on the numbers that the paper printed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.report.claims import evaluate_claims, printed_values, read_claims
from imbalance_bench.report.statistics import friedman

CONF = Path(__file__).parents[1] / "conf"
CLAIMS = CONF / "paper/explicit_gradient/claims.yaml"


def claim(statistic="best_on_all", datasets=("d0", "d1", "d2"), **other):
    return {
        "id": "c",
        "text": "a is best",
        "where": "section 1",
        "source": "paper",
        "statistic": statistic,
        "method": "a",
        "against": ["b", "c"],
        "datasets": list(datasets),
        "ratios": ["native"],
        "metric": "auc_pr",
        "class_group": "positive",
        "iterate": "last",
    } | other


def table(means, spread=0.01, folds=4, iterate="last", metric="auc_pr"):
    """Tidy values: ``means[method]`` by data set d0, d1, ...; folds spread evenly around each mean."""
    steps = np.linspace(-spread, spread, folds)
    rows = [
        (method, f"d{d}", "native", fold, 0, iterate, "positive", metric, mean + steps[fold])
        for method, column in means.items()
        for d, mean in enumerate(column)
        if mean is not None
        for fold in range(folds)
    ]
    names = ["method", "dataset", "ratio", "fold", "repeat", "iterate", "class_group", "metric", "value"]
    return pd.DataFrame(rows, columns=names)


def verdict(c, values):
    (result,) = evaluate_claims([c], values)
    return result


def test_best_on_all_with_every_number_a_renderer_needs():
    result = verdict(claim(), table({"a": [0.9, 0.8, 0.7], "b": [0.8, 0.7, 0.5], "c": [0.7, 0.75, 0.6]}))
    assert result.verdict == "holds" and result.detail == "strictly best in 3 of 3 cells"
    assert result.needed == 3 and result.missing == ()
    gains = [cell.gain.mean for cell in result.cells]
    assert gains == pytest.approx([0.1, 0.05, 0.1])
    assert [cell.best_other for cell in result.cells] == ["b", "c", "c"]
    assert result.cells[0].values == pytest.approx({"a": 0.9, "b": 0.8, "c": 0.7})
    assert result.cells[0].runs == 4 and result.cells[0].gain.wins == 4
    assert result.gain.mean == pytest.approx(np.mean(gains)) and result.gain.pairs == 3
    assert result.versus["b"].mean == pytest.approx(np.mean([0.1, 0.1, 0.2]))
    assert result.gain.low < result.gain.mean < result.gain.high


def test_a_tie_is_not_best():
    result = verdict(claim(), table({"a": [0.9, 0.8, 0.7], "b": [0.8, 0.8, 0.5], "c": [0.7, 0.7, 0.6]}))
    assert result.verdict == "does not hold"
    assert (result.gain.wins, result.gain.ties, result.gain.losses) == (2, 1, 0)


def test_of_losses_less_is_better():
    values = table({"a": [0.1, 0.2, 0.3], "b": [0.2, 0.3, 0.4], "c": [0.3, 0.4, 0.5]}, metric="log_loss")
    result = verdict(claim(metric="log_loss"), values)
    assert result.verdict == "holds" and result.gain.mean == pytest.approx(0.1)
    assert result.cells[0].best_other == "b" and result.cells[0].values["b"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        ([0.9, None, 0.9], "not run"),  # nothing against it, one cell open
        ([0.9, None, 0.1], "does not hold"),  # one cell refutes it, whatever the open one gives
    ],
)
def test_best_on_all_of_a_partial_grid(a, expected):
    result = verdict(claim(), table({"a": a, "b": [0.5] * 3, "c": [0.4] * 3}))
    assert result.verdict == expected
    assert result.missing == ("d1 native: a",) and "2 cells run, of 3" in result.detail


@pytest.mark.parametrize(
    ("wins", "losses", "expected"),
    [(3, 2, "holds"), (3, 0, "holds"), (2, 3, "does not hold"), (0, 3, "does not hold"), (2, 2, "not run")],
)
def test_best_on_most_waits_only_for_cells_that_can_decide(wins, losses, expected):
    a = [0.9] * wins + [0.1] * losses + [None] * (5 - wins - losses)
    result = verdict(
        claim("best_on_most", [f"d{i}" for i in range(5)]), table({"a": a, "b": [0.5] * 5, "c": [0.4] * 5})
    )
    assert result.verdict == expected and len(result.cells) == wins + losses


def test_half_of_the_cells_is_not_most():
    values = table({"a": [0.9, 0.1], "b": [0.5, 0.5], "c": [0.4, 0.4]})
    assert verdict(claim("best_on_most", ["d0", "d1"]), values).verdict == "does not hold"


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        ([0.55, 0.57], "holds"),
        ([0.55, 0.58], "does not hold"),
        ([0.54, None], "does not hold"),
        ([0.55, None], "not run"),
    ],
)
def test_gain_between_includes_its_bounds(a, expected):
    c = claim("gain_between", ["d0", "d1"], bounds=[0.05, 0.07])
    result = verdict(c, table({"a": a, "b": [0.5, 0.5], "c": [0.4, 0.4]}))
    assert result.verdict == expected and f"{a[0] - 0.5:+.3f} on d0 native" in result.detail


def test_higher_on_average_needs_the_interval_above_zero_for_every_other():
    b = [0.5, 0.6, 0.7]
    steady = table({"a": [0.6, 0.71, 0.8], "b": b, "c": [0.3, 0.3, 0.3]})
    result = verdict(claim("higher_on_average"), steady)
    assert result.verdict == "holds" and result.versus["b"].low > 0
    erratic = table({"a": [0.9, 0.5, 0.8], "b": b, "c": [0.3, 0.3, 0.3]})
    result = verdict(claim("higher_on_average"), erratic)
    assert result.versus["b"].mean > 0 > result.versus["b"].low
    assert result.verdict == "does not hold" and "over b on 3 cells" in result.detail


def test_statistics_over_cells_need_half_of_them_and_more_than_one():
    names = [f"d{i}" for i in range(5)]
    for statistic in ("higher_on_average", "ranks_differ"):
        few = table({"a": [0.6, 0.7], "b": [0.5, 0.6], "c": [0.4, 0.5]})
        assert verdict(claim(statistic, names), few).verdict == "not run"
        one = table({"a": [0.6], "b": [0.5], "c": [0.4]})
        assert verdict(claim(statistic, ["d0"]), one).verdict == "not run"


def test_ranks_differ_is_friedmans_test_on_the_cells():
    rng = np.random.default_rng(0)
    means = {m: (rng.random(8) * 0.3 + shift).tolist() for m, shift in [("a", 0.5), ("b", 0.2), ("c", 0.3)]}
    result = verdict(claim("ranks_differ", [f"d{i}" for i in range(8)]), table(means))
    expected = friedman(pd.DataFrame(means))
    assert result.verdict == ("holds" if expected.p < 0.05 else "does not hold")
    assert f"F(2, 14) = {expected.f:.2f}" in result.detail


def test_iterates_are_kept_apart():
    values = pd.concat(
        [table({"a": [0.9, 0.8], "b": [0.5, 0.5]}), table({"a": [0.6, 0.6], "b": [0.7, 0.7]}, iterate="best")]
    )
    pair = {"against": ["b"], "datasets": ["d0", "d1"]}
    assert verdict(claim(**pair), values).verdict == "holds"
    assert verdict(claim(**pair, iterate="best"), values).verdict == "does not hold"
    assert verdict(claim(**pair | {"against": ["a@best", "b"]}), values).verdict == "holds"
    assert verdict(claim(**pair | {"against": ["a@last"]}, iterate="best"), values).gain.losses == 2


def test_sides_are_compared_on_the_runs_that_they_share():
    values = table({"a": [0.5], "b": [0.5], "c": [0.1]}, spread=0.3)
    failed = values[~((values.method == "a") & (values.fold == 0))]  # without a's worst fold its mean is higher
    result = verdict(claim(datasets=["d0"]), failed)
    assert result.cells[0].runs == 3 and result.gain.ties == 1 and result.verdict == "does not hold"
    undefined = values.assign(value=values.value.where((values.method != "a") | (values.fold > 0)))
    assert verdict(claim(datasets=["d0"]), undefined).cells == result.cells


def test_nothing_run():
    result = verdict(claim(), table({"b": [0.5]}))
    assert result.verdict == "not run" and result.gain is None and result.versus == {} and result.cells == ()
    assert result.missing == ("d0 native: a, c", "d1 native: a, b, c", "d2 native: a, b, c")
    assert verdict(claim(), table({"a": [], "b": []})).verdict == "not run"
    apart = pd.concat([table({"a": [0.5], "b": [0.4]}), table({"c": [0.3]}).assign(repeat=1)])
    assert verdict(claim(datasets=["d0"]), apart).missing == ("d0 native: no run that all sides share",)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"statistic": "bset_on_all"}, "must be one of"),
        ({"methd": "a"}, "did you mean method"),
        ({"against": []}, "at least one entry"),
        ({"against": ["b@first"]}, "b@first"),
        ({"bounds": [0.1, 0.2]}, "gain_between"),
        ({"statistic": "gain_between", "bounds": [0.1]}, "low, high"),
    ],
)
def test_a_claim_declared_wrongly_is_named(change, says):
    with pytest.raises(BenchError, match=says):
        evaluate_claims([claim(**change)], table({"a": [0.5]}))


def test_two_claims_with_one_id_or_two_records_for_one_number():
    with pytest.raises(BenchError, match="declares c twice"):
        evaluate_claims([claim(), claim()], table({"a": [0.5]}))
    twice = pd.concat([table({"a": [0.5]}), table({"a": [0.6]})])
    with pytest.raises(BenchError, match="two records give method=a, dataset=d0"):
        evaluate_claims([claim()], twice)


def test_no_claims_declared(tmp_path):
    with pytest.raises(BenchError, match="no claims are declared at"):
        read_claims(tmp_path / "claims.yaml")


def test_the_paper_by_its_own_numbers():
    """Strictly best in 17 of 27 rows of Table 2 and 12 of 27 of Table 3; +0.04 and +0.06 on the largest
    sets."""
    results = {r.claim.id: r for r in evaluate_claims(read_claims(CLAIMS), printed_values(CLAIMS))}
    verdicts = {name: r.verdict for name, r in results.items() if r.claim.source == "paper"}
    assert verdicts == {
        "adult_best": "holds",
        "best_of_classical": "holds",
        "best_of_deep": "does not hold",
        "ranks_differ": "holds",
        "largest_sets": "does not hold",
        "better_than_mesa": "holds",
    }
    assert results["best_of_classical"].gain.wins == 17 and results["best_of_deep"].gain.wins == 12
    gains = {cell.dataset: cell.gain.mean for cell in results["largest_sets"].cells}
    assert gains == pytest.approx({"webpage": 0.06, "protein_homo": 0.04})
    adult = results["adult_best"].cells[0]
    assert adult.values["balanced_batches"] == 0.328 and adult.values["explicit_gradient"] == 0.348
    assert {r.verdict for r in results.values() if r.claim.source == "control"} == {"not run"}


def test_claims_name_options_that_exist():
    """A misspelt label would read "not run" for ever."""
    for declared in read_claims(CLAIMS):
        methods = {side.partition("@")[0] for side in [declared["method"], *declared["against"]]}
        for group, labels in [("method", methods), ("dataset", declared["datasets"]), ("ratio", declared["ratios"])]:
            assert set(labels) <= {p.stem for p in (CONF / group).glob("*.yaml")}, (declared["id"], group)
