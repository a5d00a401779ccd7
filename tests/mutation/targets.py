"""The functions that decide numbers most, the test files that should notice when one of them is changed, and the
mutants that change nothing."""

from __future__ import annotations

P = "imbalance_bench."
RATIO = ("test_ratio.py", "test_ratio_counts.py")
SPLITS = ("test_splits.py",)
ENCODE = ("test_encode.py",)
EXPLICIT_GRADIENT = ("test_explicit_gradient.py",)
METRICS = ("test_metrics.py",)
SCORING = ("test_scoring.py", "test_rescore.py")
STATISTICS = ("test_statistics.py", "test_claims.py")
CLAIMS = ("test_claims.py",)
TABLES = ("test_report_tables.py", "test_report_summary.py")
MEANS = ("test_report_means.py", *TABLES)
METHODS = ("test_methods.py", "test_long_tail_methods.py")
VECTORS = ("test_vector_methods.py",)

TARGETS: dict[str, tuple[str, ...]] = {
    P + "rounding:snapped": ("test_ratio_counts.py", "test_arithmetic.py"),
    P + "data.ratio:Ratio.rare_classes": RATIO,
    P + "data.ratio:Ratio.indices": RATIO,
    P + "data.ratio:ImbalanceRatio.keep_counts": RATIO,
    P + "data.ratio:Step.keep_counts": RATIO,
    P + "data.ratio:Step.rare_classes": RATIO,
    P + "data.ratio:LongTailed.keep_counts": RATIO,
    P + "data.ratio:ClassList.keep_counts": RATIO,
    P + "data.ratio:RandomClasses.keep_counts": RATIO,
    P + "data.ratio:gaussian_counts": RATIO,
    P + "data.ratio:MinorMajor.keep_counts": RATIO,
    P + "data.ratio:_thinned": RATIO,
    P + "data.splits:Protocol._tried": SPLITS,
    P + "data.splits:PastFuture._splits": SPLITS,
    P + "data.splits:OfficialTest._splits": SPLITS,
    P + "data.splits:own_rows": SPLITS,
    P + "data.dividing:hold_out": (*SPLITS, "test_ratio_counts.py"),
    P + "data.dividing:k_folds": SPLITS,
    P + "data.dividing:dealt": SPLITS,
    P + "data.dividing:cut": SPLITS,
    P + "data.tasks:_split": SPLITS,
    P + "data.tasks:_unseen": SPLITS,
    P + "data.encode:ArrayEncoder.fitted": ENCODE,
    P + "data.encode:FittedArray.__call__": ENCODE,
    P + "data.encode:FittedTable.numbers": ENCODE,
    P + "data.encode:FittedTable.one_hot": ENCODE,
    P + "methods.explicit_gradient:ExplicitGradient.start": EXPLICIT_GRADIENT,
    P + "methods.explicit_gradient:ExplicitGradient.adapt": EXPLICIT_GRADIENT,
    P + "methods.explicit_gradient:ExplicitGradient.meta_losses": EXPLICIT_GRADIENT,
    P + "methods.explicit_gradient:ExplicitGradient.valid_plan": EXPLICIT_GRADIENT,
    P + "methods.explicit_gradient:step_weights": EXPLICIT_GRADIENT,
    P + "methods.explicit_gradient:meta_step": EXPLICIT_GRADIENT,
    P + "methods.shared.oversampling:target_counts": METHODS,
    P + "methods.shared.oversampling:OverSampler.resample": METHODS,
    P + "methods.shared.oversampling:with_made": METHODS,
    P + "methods.random_undersampling:RandomUnderSampling.resample": METHODS,
    P + "methods.kmeans_smote:kept_clusters": VECTORS,
    P + "methods.kmeans_smote:log_sparsity": VECTORS,
    P + "methods.shared.allotted:allotted": VECTORS,
    P + "methods.kmeans_smote:interpolated": VECTORS,
    P + "engine.losses:effective_number_weights": METHODS,
    P + "engine.losses:inverse_frequency_weights": METHODS,
    P + "engine.losses:log_prior": METHODS,
    P + "engine.schedule:reached": ("test_methods.py", "test_engine_images.py"),
    P + "engine.schedule:learning_rate": ("test_engine_images.py",),
    P + "methods.focal:Focal.loss": METHODS,
    P + "methods.ldam:LDAM.margins": METHODS,
    P + "methods.ldam:LDAM.loss": METHODS,
    P + "methods.class_balanced:ClassBalanced.change_fresh": METHODS,
    P + "methods.class_balanced:ClassBalanced.loss": METHODS,
    P + "methods.class_balanced:sigmoid_focal": METHODS,
    P + "methods.balanced_softmax:BalancedSoftmax.loss": METHODS,
    P + "methods.logit_adjustment:LogitAdjustment.loss": METHODS,
    P + "methods.logit_adjustment:LogitAdjustment.posthoc": METHODS,
    P + "methods.logit_adjustment:Shifted.scores": METHODS,
    P + "methods.dice:Dice.terms": ("test_text_methods.py",),
    P + "methods.dice:Dice.coefficients": ("test_text_methods.py",),
    P + "metrics:evaluate_runs": (*METRICS, "test_slices.py"),
    P + "metrics:_of_slices": (*METRICS, "test_slices.py"),
    P + "metrics:_means_of_classes": METRICS,
    P + "metrics:ranking_scores": METRICS,
    P + "metrics.curves:counts": METRICS,
    P + "metrics.curves:precision_recall": METRICS,
    P + "metrics.curves:average_precision": METRICS,
    P + "metrics.curves:auc_roc": METRICS,
    P + "metrics.curves:summaries": METRICS,
    P + "metrics.probabilities:log_losses": METRICS,
    P + "metrics.probabilities:calibration_errors": METRICS,
    P + "metrics:_one_vs_rest": METRICS,
    P + "metrics:_correlations": METRICS,
    P + "metrics:_of_part": (*METRICS, "test_slices.py"),
    P + "metrics:_means_over": METRICS,
    P + "metrics:_mean_of_defined": METRICS,
    P + "metrics:_regression": METRICS,
    P + "metrics.scoring:headline": SCORING,
    P + "metrics.scoring:decisions": SCORING,
    P + "metrics.scoring:selection_score": SCORING,
    P + "report.records.statistics:ranks": STATISTICS,
    P + "report.records.statistics:friedman": STATISTICS,
    P + "report.records.statistics:_permuted": STATISTICS,
    P + "report.records.statistics:signed_rank": STATISTICS,
    P + "report.records.statistics:holm": STATISTICS,
    P + "report.records.statistics:paired_difference": STATISTICS,
    P + "report.records.statistics:difference": STATISTICS,
    P + "report.records.statistics:varies_less": STATISTICS,
    P + "report.records.statistics:dolan_more": STATISTICS,
    P + "report.sheets.judgement:within": CLAIMS,
    P + "report.sheets.judgement:every": CLAIMS,
    P + "report.sheets.judgement:judge": CLAIMS,
    P + "report.sheets.judgement:_on_all": CLAIMS,
    P + "report.sheets.judgement:_on_most": CLAIMS,
    P + "report.sheets.judgement:_of_all_cells": CLAIMS,
    P + "report.sheets.judgement:_ranks": CLAIMS,
    P + "report.sheets.judgement:_trend": CLAIMS,
    P + "report.sheets.claims:conclude": CLAIMS,
    P + "report.sheets.claims:_compare": CLAIMS,
    P + "report.sheets.claims:_rows_of": CLAIMS,
    P + "report.records.records:average": MEANS,
    P + "report.sheets.scores:score": TABLES,
    P + "report.sheets.scores:mark_best": TABLES,
    P + "report.sheets.means:MeanRows.__init__": MEANS,
    P + "report.sheets.means:MeanRows._mean": MEANS,
    P + "report.sheets.means:MeanRows._rank": MEANS,
    P + "report.sheets.tables:_relative_gaps": TABLES,
    P + "settings.identity:cell_id": ("test_ids.py", "test_own_code.py"),
    P + "settings.identity:_numbers": ("test_ids.py", "test_own_code.py"),
    P + "store:CellFolder.record": ("test_store.py",),
    P + "store:CellFolder.state": ("test_store.py",),
    P + "store:file_of": ("test_store.py", "test_rescore.py"),
    P + "store.shape:lacking": ("test_store.py", "test_rescore.py"),
}

QUICK = P + "metrics.curves:auc_roc"  # what the slow test runs, so that the check itself is checked

# (function, change as it is printed, why no test can see it)
EQUIVALENT: list[tuple[str, str, str]] = [
    *(
        (P + where, f"{before} → {after}", reason)
        for where, reason, changes in (
            (
                "data.ratio:Step.rare_classes",
                "of two classes both thinned is an error, whichever comes second",
                [("(1, 0)", "(1, 1)")],
            ),
            (
                "data.ratio:gaussian_counts",
                "a factor of sigma, which is solved for",
                [("-0.5", "-1.0")],
            ),
            (
                "data.ratio:gaussian_counts",
                "a wider interval to begin with, or one halving more or less at its end",
                [
                    ("(-3.0, 12.0)", "(-3.0, 24.0)"),
                    ("-3.0", "-6.0"),
                    ("high - low > 1e-12", "high - low >= 1e-12"),
                    ("high - low > 1e-12", "high - low > 2e-12"),
                ],
            ),
            (
                "data.splits:PastFuture._splits",
                "any time after the last closes the last part",
                [("int(times.max()) + 1", "int(times.max()) + 2")],
            ),
            ("data.splits:OfficialTest._splits", "of no rows", [("np.zeros", "np.ones")]),
            (
                "engine.losses:effective_number_weights",
                "a factor of all weights, which are scaled to a sum",
                [
                    (
                        "-1 / torch.expm1(counts * (math.log(beta) if beta else -math.inf))",
                        "1 / torch.expm1(counts * (math.log(beta) if beta else -math.inf))",
                    ),
                    ("-1", "-2 (1 of 3)"),
                ],
            ),
            (
                "engine.schedule:reached",
                "rounding is far below the tenth decimal as well",
                [("round(share * epochs, 9)", "round(share * epochs, 10)")],
            ),
            (
                "methods.logit_adjustment:LogitAdjustment.loss",
                "a shift of all logits, which no softmax sees",
                [
                    (
                        "self.tau * log_prior(state.counts) if self.mode == 'loss' else 0",
                        "self.tau * log_prior(state.counts) if self.mode == 'loss' else 1",
                    )
                ],
            ),
            (
                "report.records.statistics:friedman",
                "a tolerance for rounding",
                [
                    ("rest <= 1e-09 * chi2", "rest < 1e-09 * chi2"),
                    ("1e-09 * chi2", "2e-09 * chi2"),
                ],
            ),
            (
                "report.records.statistics:friedman",
                "all cells have the same ranks here",
                [("table[0]", "table[1]")],
            ),
            (
                "report.records.statistics:friedman",
                "no power of a factorial is 100,000",
                [
                    (
                        "math.factorial(k) ** (n - 1) <= ORDERS",
                        "math.factorial(k) ** (n - 1) < ORDERS",
                    )
                ],
            ),
            (
                "report.records.statistics:_permuted",
                "sums of ranks have one total, so that a constant is added to both sides of the comparison",
                [
                    ("table - (k + 1) / 2", "table + (k + 1) / 2"),
                    ("(k + 1) / 2", "(k + 1) * 2"),
                    ("(k + 1) / 2", "(k + 1) / 3"),
                    ("k + 1", "k - 1"),
                    ("k + 1", "k + 2"),
                ],
            ),
            (
                "report.records.statistics:_permuted",
                "numpy takes any negative length as the one to find",
                [("-1", "-2")],
            ),
            (
                "report.records.statistics:_permuted",
                "another seed of equal right",
                [("np.random.default_rng(0)", "np.random.default_rng(1)")],
            ),
            (
                "report.records.statistics:_permuted",
                "a tolerance for rounding",
                [
                    (
                        "(sums ** 2).sum(axis=1) >= (ranks.sum(axis=0) ** 2).sum() - 1e-09",
                        "(sums ** 2).sum(axis=1) > (ranks.sum(axis=0) ** 2).sum() - 1e-09",
                    ),
                    ("(ranks.sum(axis=0) ** 2).sum() - 1e-09", "(ranks.sum(axis=0) ** 2).sum() - 2e-09"),
                ],
            ),
            (
                "methods.shared.allotted:allotted",
                "any equal numbers give even shares",
                [("np.zeros_like", "np.ones_like")],
            ),
            (
                "metrics:ranking_scores",
                "both forms of log(1 - p) are equal there",
                [("own > SATURATED", "own >= SATURATED")],
            ),
            (
                "methods.shared.oversampling:OverSampler.resample",
                "numpy takes any negative length as the one to find",
                [("-1", "-2")],
            ),
            (
                "methods.shared.oversampling:with_made",
                "numpy takes any negative length as the one to find",
                [("-1", "-2 (1 of 2)")],
            ),
            (
                "data.dividing:dealt",
                "numpy takes any negative length as the one to find",
                [("-1", "-2 (1 of 3)")],
            ),
            (
                "data.encode:ArrayEncoder.fitted",
                "equal numbers, where the column is constant",
                [("known[0]", "known[1]")],
            ),
            ("data.encode:FittedTable.numbers", "of no columns", [("np.zeros", "np.ones")]),
            (
                "methods.explicit_gradient:ExplicitGradient.start",
                "no probability is above 1",
                [("self.c < 1", "self.c <= 1"), ("self.c < 1", "self.c < 2")],
            ),
            (
                "methods.explicit_gradient:ExplicitGradient.adapt",
                "another seed of equal right",
                [("t.seed + 1", "t.seed - 1"), ("t.seed + 1", "t.seed + 2")],
            ),
            (
                "data.dividing:dealt",
                "no part yet is any number below 0",
                [("-1", "-2 (2 of 3)")],
            ),
            (
                "data.dividing:dealt",
                "of one group a part has a share below 1, which is none",
                [("max(len(first) - SPARE, 0)", "max(len(first) - SPARE, 1)")],
            ),
            (
                "data.dividing:dealt",
                "twice as many rows of every kind: only their ratios are compared",
                [("np.add.at(table, (codes, y), 1)", "np.add.at(table, (codes, y), 2)")],
            ),
            (
                "report.sheets.judgement:judge",
                "a tolerance for rounding",
                [
                    ("cell.gain.mean > 10.0 ** (-_DECIMALS)", "cell.gain.mean >= 10.0 ** (-_DECIMALS)"),
                    ("10.0 ** (-_DECIMALS)", "20.0 ** (-_DECIMALS)"),
                ],
            ),
            (
                "report.sheets.judgement:_ranks",
                "Friedman's test reads no index",
                [("ignore_index=True", "ignore_index=False")],
            ),
            (
                "report.sheets.judgement:_ranks",
                "no exact p is 0.05 where a cell is turned: of 5 sides in 3 cells, the only such number of orders, all "
                "have p above 0.8",
                [("with_rest(-order) < ALPHA", "with_rest(-order) <= ALPHA")],
            ),
            (
                "report.sheets.judgement:_trend",
                "places of one series differ in their ratio, which the name leaves out",
                [("places[0]", "places[1]")],
            ),
            (
                "report.sheets.judgement:_trend",
                "what counts is whether any is missing",
                [
                    ("missing += len(ratios) - len(here)", "missing -= len(ratios) - len(here)"),
                    ("missing += 1", "missing -= 1"),
                    ("missing += 1", "missing += 2"),
                ],
            ),
            (
                "report.records.statistics:signed_rank",
                "scipy's auto counts every pattern of 13 signs itself",
                [("len(difference) > 13", "len(difference) >= 13")],
            ),
            (
                "report.records.statistics:varies_less",
                "a correlation of nothing is not below alpha; no p is exactly alpha",
                [("test.statistic < 0", "test.statistic <= 0"), ("test.pvalue < alpha", "test.pvalue <= alpha")],
            ),
            (
                "report.records.statistics:dolan_more",
                "a tolerance for rounding",
                [
                    ("values + 10.0 ** (-DECIMALS) >= bar", "values + 10.0 ** (-DECIMALS) > bar"),
                    ("10.0 ** (-DECIMALS)", "20.0 ** (-DECIMALS)"),
                ],
            ),
        )
        for before, after in changes
    ),
]
