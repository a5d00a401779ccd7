"""The scores of runs on their validation parts, by which each keeps its best epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from imbalance_bench import metrics
from imbalance_bench.alike import alike
from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.stack import Stack, lengths, stored
from imbalance_bench.metrics import scoring

TOGETHER = 1 << 22  # numbers of all validation parts that are copied to be looked at together


class OnHost:
    """By ``scoring.selection_score``, one run after the other. Networks with derivatives by hand, small beside what a
    call costs, are asked for the outputs of all runs at once, and runs of equally many rows are scored at once."""

    def __init__(self, stack: Stack, tasks: Sequence[Task]) -> None:
        self.stack, self.tasks = stack, tasks
        inputs = {id(t.valid): stored(t.valid.x, stack.flat) for t in tasks}
        self.inputs = [inputs[id(t.valid)] for t in tasks]
        cheap = isinstance(stack, Stack) and stack.traits.passed is not None and len(tasks) > 1
        together = cheap and len(tasks) * max(x.numel() for x in self.inputs) <= TOGETHER
        # Shorter parts are filled up with rows that nobody looks at.
        self.filled = torch.nn.utils.rnn.pad_sequence(self.inputs, batch_first=True) if together else None

    def scores(self, runs: Sequence[int]) -> np.ndarray:
        """The scores of these runs, among those of all (R,); nan without rows."""
        scores = np.full(len(self.tasks), np.nan)
        if self.filled is not None and self.filled.shape[1]:
            chunk = self.stack.rows_at_once(self.filled[0])
            of_all = self.stack.evaluate(self.stack.flat.detach(), self.filled.split(chunk, 1))
            for n, places in alike(len(self.tasks[r].valid) for r in runs):
                some = [runs[place] for place in places]
                if n:
                    scores[some] = self._scored(some, of_all[some, :n])
            return scores
        for r in runs:
            if len(self.tasks[r].valid):
                outputs = self.stack.predict(self.stack.flat[r].detach(), self.inputs[r])
                scores[r] = self._scored([r], outputs[None])[0]
        return scores

    def _scored(self, runs: Sequence[int], outputs: torch.Tensor) -> np.ndarray:
        """(k,) of runs with as many rows each: outputs (k, n, C)."""
        tasks = [self.tasks[r] for r in runs]
        outputs = outputs.double()
        if tasks[0].kind == "classification":
            outputs = outputs.log_softmax(-1)
        labels = np.stack([task.valid.y for task in tasks])
        return scoring.selection_scores(labels, outputs.cpu().numpy(), tasks[0].kind)


class OnDevice:
    """All runs at once, without a wait: ``scoring.selection_score`` in operations of the device. Parts of unequal
    length are filled up with rows that do not count."""

    def __init__(self, stack: Stack, tasks: Sequence[Task]) -> None:
        self.stack, self.kind = stack, tasks[0].kind
        parts = [t.valid for t in tasks]
        n, filler = max(len(p) for p in parts), next(p for p in parts if len(p))
        device = stack.flat.device
        found: dict[int, tuple[torch.Tensor, ...]] = {}
        for part in parts:
            if id(part) not in found:
                found[id(part)] = _filled(part, filler, n, stack.pad)
        shared = len(found) == 1
        x = torch.stack([stored(found[id(p)][0], stack.flat) for p in (parts[:1] if shared else parts)])
        labels, real, longest = (torch.stack([found[id(p)][i] for p in parts]) for i in (1, 2, 3))
        chunk = stack.rows_at_once(x[0], runs=len(parts))
        self.chunks = list(x.expand(len(parts), *x.shape[1:]).split(chunk, 1))
        if stack.pad is not None:
            ends = [int(part.max()) for part in longest.split(chunk, 1)]
            self.chunks = [part[..., :end] for part, end in zip(self.chunks, ends)]
        self.real = real.to(device)
        if self.kind == "regression":
            self.labels = labels.to(device)
            return
        wanted = [1] if tasks[0].classes == 2 else list(range(tasks[0].classes))
        positive = (labels[:, None] == torch.tensor(wanted)[:, None]) & real[:, None]
        self.positive = positive.to(device)
        # Of two classes the positive one counts even where it has no row: there is no score then.
        self.counted = (positive.any(-1) | (len(wanted) == 1)).to(device)

    def scores(self) -> torch.Tensor:
        """The score of each run, (R,) in float64; nan without rows."""
        outputs = self.stack.evaluate(self.stack.flat.detach(), self.chunks).double()
        if self.kind == "regression":
            errors = torch.where(self.real, (outputs[..., 0] - self.labels).square(), 0)
            return -errors.sum(1) / self.real.sum(1)
        ranked = ranking_scores(outputs.log_softmax(-1)).mT
        found = average_precision(self.positive, ranked, self.real[:, None])
        return torch.where(self.counted, found, 0).sum(1) / self.counted.sum(1)


def _filled(part: Part, filler: Part, n: int, pad: int | None) -> tuple[torch.Tensor, ...]:
    """Features and labels of ``n`` rows, those of ``part`` first, texts by length; which are the part's; and the
    lengths of texts."""
    rows = torch.arange(n)
    real = rows < len(part)
    some = part if len(part) else filler
    x, y = torch.as_tensor(some.x), torch.as_tensor(some.y)
    long = torch.ones(len(x), dtype=torch.int64) if pad is None else lengths(x, pad)
    order = long.argsort(stable=True)[rows.clamp(max=len(x) - 1)]
    return x[order], y[order], real, long[order]


def ranking_scores(log_probs: torch.Tensor) -> torch.Tensor:
    """``metrics.ranking_scores`` of each class, (..., C), or (..., 1) of the second of two, from log-probabilities
    (..., C)."""
    if log_probs.shape[-1] == 2:
        return log_probs[..., 1:] - log_probs[..., :1]
    # One class at most is near probability 1: the others are summed for the likeliest only.
    top = torch.nn.functional.one_hot(log_probs.argmax(-1), log_probs.shape[-1]).bool()
    others = log_probs.masked_fill(top, -torch.inf).logsumexp(-1, keepdim=True)
    bounded = log_probs.clamp(max=metrics.SATURATED)
    return log_probs - torch.where(log_probs > metrics.SATURATED, others, torch.log(-torch.expm1(bounded)))


def average_precision(positive: torch.Tensor, scores: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """``metrics.average_precision`` (...) of rows (..., n), of which those that are not ``real`` (broadcast) do not
    count and are not ``positive``."""
    undefined = (scores.isnan() & real).any(-1)
    ranked, order = scores.masked_fill(~real, -torch.inf).sort(dim=-1, descending=True, stable=True)
    hits = positive.gather(-1, order)
    # Integers: sums of floating point in order have no deterministic kernel on a GPU.
    counts = real.expand(scores.shape).gather(-1, order).cumsum(-1)
    precision = hits.cumsum(-1) / counts.double()
    # Tied scores are one threshold: each row has the precision at the last of its ties.
    ascending = -ranked
    last = torch.searchsorted(ascending, ascending, right=True).sub_(1).clamp_(min=0)
    total = torch.where(hits, precision.gather(-1, last), 0).sum(-1)
    return (total / positive.sum(-1)).masked_fill(undefined, torch.nan)
