"""MISO: the minority is filled up with generated texts, anchors, that leave the region where classes overlap."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method, resampling_info
from imbalance_bench.methods.miso.anchors import anchor_facts, distinct_n, warnings_of, words
from imbalance_bench.methods.miso.difficult import difficult
from imbalance_bench.methods.shared.oversampling import target_counts
from imbalance_bench.methods.shared.parts import part_of
from imbalance_bench.methods.shared.token_ids import closed
from imbalance_bench.options import Count, Fraction, NonNegative, Positive, Whole
from imbalance_bench.registry import METHODS
from imbalance_bench.running.checkpoints import part
from imbalance_bench.settings.identity import SCHEMA, digest

if TYPE_CHECKING:
    from imbalance_bench.engine import Engine
    from imbalance_bench.methods.miso.generator import Generator

log = logging.getLogger("imbalance_bench")

FORMAT = 1  # of anchors and the facts about them, which are kept: raised when these change
SHOWN = 200  # pairs of source and anchor that are kept as text


@METHODS.register("cag")
@dataclass(frozen=True)
class CAG(Method):
    """Coupled Adversarial Generator (Tian et al., "Difficult Samples Re-embedding via Mutual Information Constrained
    Semantically Oversampling", EMNLP 2021, Sections 4.2 and 7.2): MISO without semantic fusion and MI loss.

    X+ are the texts of a minority class, X- all others. A shared encoder and a decoder a side, E_ψ+ and E_ψ-, first
    learn to write what they read (cross-entropy of each word); then they and discriminators D_φ play, for each side,

        min_ψ max_φ  E_N[log D_φ(x)] + E_U[log(1 - D_φ(E_ψ(x)))].

    The minority's decoder writes anchors, by argmax, from difficult texts, those with a majority text among their
    ``neighbours`` nearest sentence states after pre-training (from all of them where none is), again and again until
    n+ + t = n-. Then the backbone is trained by cross-entropy on the training part and the anchors. Without fusion a
    source gives the same anchor until the decoder has moved.

    Readings. The paper gives ``batch_size``, ``lr``, ``width`` and ``heads``; layers, optimiser (Adam), numbers of
    steps and how gradients pass a chosen word (straight-through Gumbel-softmax at temperature 1) are ours.
    ``schedule``: "each_epoch": after each of ``epochs`` rounds of ``epoch_steps`` iterations an equal share of the
    anchors is made, and τ = n- / (n+ + anchors so far) falls, since the paper's τ is that "of the current epoch";
    "at_end": all are made at the end, as in Algorithm 1, and τ is constant. ``sources``: the difficult texts, or all of
    the minority. ``reconstruction``: weight of the words' cross-entropy, beside the adversarial loss of each side; 0 as
    printed, where words are learned in pre-training only. ``keep_minority``: false leaves the given minority texts out
    of the classifier's training set (control). Pre-training ends early once the mean of the minority's loss over 50
    steps is below ``pretrain_until`` nats a token. Several classes: each minority class in turn against all others,
    filled up to the largest class.

    The record has shares of difficult texts before and after (``difficult_before``: encoder before the joint
    iterations; ``difficult_after``: final encoder, anchors counting as minority; ``difficult_classifier``: the same in
    the classifier's own embedding), copies, distinct-n, how many anchors have an end, how much the decoder reconstructs
    after pre-training, at the start of the joint iterations and in the end; the artifacts have the anchors.
    """

    reads = "tokens"
    slices = ("difficult",)
    fused: ClassVar[bool] = False
    # The options that pre-training depends on: those that it does not are compared after the same pre-training.
    pretraining: ClassVar[tuple[str, ...]] = (
        "batch_size", "width", "heads", "layers", "pretrain_lr", "pretrain_steps", "pretrain_until",
    )  # fmt: skip

    batch_size: Count
    lr: Positive
    width: Count
    heads: Count
    layers: Count
    pretrain_lr: Positive
    pretrain_steps: Count
    pretrain_until: NonNegative
    epochs: Count
    epoch_steps: Count
    reconstruction: NonNegative
    schedule: Literal["each_epoch", "at_end"]
    sources: Literal["difficult", "all"]
    neighbours: Count
    keep_minority: bool

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise BenchError(f"method.width={self.width} must be a multiple of method.heads={self.heads}")

    def weights(self, tau: float) -> tuple[float, float]:
        """Of the MI loss and of the adversarial losses in what encoder and decoders descend."""
        return 0.0, 1.0

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        """The generators one after the other, then the classifiers of all runs together."""
        parts = [engine.rows_of(task) for task in tasks]
        # Of all runs before a generator is trained: an error comes at once.
        wanted = [self.wanted(task, rows) for task, rows in zip(tasks, parts)]
        made = [self.generate(task, rows, w, engine) for task, rows, w in zip(tasks, parts, wanted)]
        sets = [self.training_set(task, rows, m) for task, rows, m in zip(tasks, parts, made)]
        classifiers = engine.train(self, tasks, sets, backbone)
        for classifier, task, rows, anchors, learned in zip(classifiers, tasks, parts, made, sets):
            classifier.failure = anchors.failure or classifier.failure
            classifier.info |= resampling_info(task, learned) | anchors.info
            classifier.artifacts |= anchors.artifacts
            if classifier.failure is None and anchors.by_class:
                classifier.info["difficult_classifier"] = {
                    str(c): self.difficult_share(classifier.features, rows, c, x) for c, x in anchors.by_class.items()
                }
        return list(classifiers)

    def training_set(self, task: Task, rows: Part, made: Anchors) -> Part:
        """The training set of the classifier: ``rows``, and anchors under ids -1."""
        kept = rows if self.keep_minority else rows.take(~np.isin(rows.y, list(made.by_class)))
        return kept.join(*(Part(x, np.full(len(x), c), np.full(len(x), -1)) for c, x in made.by_class.items()))

    def difficult_share(self, embed: Any, rows: Part, label: int, anchors: np.ndarray) -> float:
        """Share of a class's texts that are difficult among ``rows`` and ``anchors`` in an embedding."""
        own = rows.y == label
        minority, others, majority = (embed(x) for x in (rows.x[own], anchors, rows.x[~own]))
        return float(difficult(minority, [others], majority, self.neighbours).mean())

    def wanted(self, task: Task, rows: Part) -> dict[int, int]:
        """How many anchors each minority class of a run that is smaller than the largest class gets."""
        targets = target_counts(rows.y, "balanced")
        if not task.minority_classes:
            raise BenchError(
                f"method={self.name} fills up minority classes, and fold {task.fold} has none: choose a ratio that "
                "makes some, e.g. ratio=ir_20"
            )
        counts = np.bincount(rows.y, minlength=task.classes).tolist()
        wanted = {c: targets[c] - counts[c] for c in task.minority_classes if c in targets}
        if min(counts) < max(counts) and not wanted:
            largest = max(task.minority_classes, key=counts.__getitem__)
            raise BenchError(
                f"method={self.name} fills up minority classes, and class {largest}, which counts as one, is the "
                f"largest of fold {task.fold} ({counts[largest]} texts): choose another dataset.positive, or a ratio"
            )
        for label in wanted:
            if counts[label] < 2:
                raise BenchError(
                    f"method={self.name} needs at least 2 texts of each class that it fills up, and fold {task.fold} "
                    f"has {counts[label]} of class {label}: choose a lower ratio, or fewer protocol.folds"
                )
        return wanted

    def generate(self, task: Task, rows: Part, wanted: dict[int, int], engine: Engine) -> Anchors:
        """As many anchors of each class as are ``wanted``."""
        from imbalance_bench.methods.miso.generator import Diverged

        made = Anchors()
        for label, n in wanted.items():
            try:
                with part(f"generator of class {label}, fold {task.fold} repeat {task.repeat}"):
                    self.generate_class(task, rows, label, n, engine, made)
            except Diverged as error:
                return Anchors(failure=str(error))
        return made

    def generate_class(self, task: Task, rows: Part, label: int, wanted: int, engine: Engine, made: Anchors) -> None:
        """Puts ``wanted`` anchors of a class, and facts about them, into ``made``."""
        vocabulary = task.vocabulary
        assert vocabulary is not None
        own = np.flatnonzero(rows.y == label)
        options = [f.name for f in fields(self) if f.name != "keep_minority"]
        key = digest([FORMAT, wanted, self.key(options, task, rows, label, engine)])
        arrays = engine.cached(f"anchors-{key}", lambda: self.trained(task, rows, label, wanted, engine))
        facts = json.loads(str(arrays.pop("facts")))
        anchors, source = arrays.pop("anchors"), arrays.pop("source")
        for warning in warnings_of(facts):
            made.info.setdefault("warnings", []).append(f"class {label}: {warning}")
            log.warning("fold %d repeat %d class %d: %s", task.fold, task.repeat, label, warning)
        log.info("fold %d repeat %d class %d: %s", task.fold, task.repeat, label, facts)
        made.info.setdefault("generator", {})[str(label)] = facts
        made.by_class[label] = anchors
        shown = slice(None, None, -(-len(anchors) // SHOWN))
        pairs = [vocabulary.decode(x[shown]) for x in (rows.x[own][source], anchors)]
        made.artifacts |= {
            f"anchors_class{label}": anchors,
            f"sources_class{label}": rows.ids[own][source],
            f"texts_class{label}": np.array(pairs, dtype=np.str_).T,
        } | {f"{name}_class{label}": values for name, values in arrays.items()}

    def key(self, options: Iterable[str], task: Task, rows: Part, label: int, engine: Engine) -> str:
        """Hash of what the generator depends on: data, seed, device and these options; not the classifier."""
        import torch

        assert task.vocabulary is not None
        special = [task.vocabulary.pad, task.vocabulary.begin, task.vocabulary.end, *task.vocabulary.tail]
        content = hashlib.sha256(rows.x.tobytes() + (rows.y == label).tobytes()).hexdigest()
        where = [engine.device.type, str(engine.arithmetic), torch.__version__]
        chosen = {name: getattr(self, name) for name in options}
        return digest([SCHEMA, self.fused, chosen, special, content, label, task.seed, where])

    def prepare(self, generator: Generator) -> None:
        """Step between pre-training and the joint iterations; nothing, as printed."""

    def trained(self, task: Task, rows: Part, label: int, wanted: int, engine: Engine) -> dict[str, np.ndarray]:
        """The output of a generator: ``anchors`` (t, L); ``source`` (t,), the text of the class that each was made
        from; ``facts`` as JSON, and ``generator_...``: its history."""
        import torch

        from imbalance_bench.methods.miso.generator import Generator, GeneratorOptions

        assert task.vocabulary is not None
        texts, others = rows.x[rows.y == label], rows.x[rows.y != label]
        seed = np.random.SeedSequence([task.seed, label])
        generator = Generator(part_of(GeneratorOptions, self), task.vocabulary, texts, others, wanted, seed, engine)
        pretraining = self.key(self.pretraining, task, rows, label, engine)
        pad, tail = task.vocabulary.pad, task.vocabulary.tail
        with engine.autocast():
            with part("pre-training"):  # which may be there already
                generator.load(engine.cached(f"generator-{pretraining}", generator.pretrained))
            pretrained = generator.accuracy()
            self.prepare(generator)
            before = difficult(generator.states(texts), [], generator.states(others), self.neighbours)
            hard = np.flatnonzero(before) if self.sources == "difficult" and before.any() else np.arange(len(texts))
            with generator.aside():
                start = generator.accuracy(generator.tau)
                first, _ = generator.write(torch.as_tensor(hard[:SHOWN]), generator.tau)
            anchors, ended, source = generator.train(hard)
            # Closed, they are no longer than the longest text, beyond which the networks know no places.
            anchors[:, : generator.longest] = closed(anchors[:, : generator.longest], pad, tail)
            after = self.difficult_share(generator.states, rows, label, anchors)
            last = generator.history[-1]
            final = generator.accuracy(last["tau"])
        facts = anchor_facts(anchors, texts[source], rows.x, pad) | {
            "ended": float(ended.mean()),
            "sources": len(hard),
            "difficult_before": float(before.mean()),
            "difficult_after": after,
            "pretrained_steps": generator.steps,
            "reconstruction_pretrained": pretrained,
            "reconstruction_start": start,
            "distinct_2_start": distinct_n(words(first, pad), 2),
            "reconstruction_final": final,
            **{name: value for name, value in last.items() if name.startswith(("mi_", "critic_"))},
        }
        history = {f"generator_{k}": np.array([row[k] for row in generator.history]) for k in last if k != "epoch"}
        return {"anchors": anchors, "source": source, "facts": np.array(json.dumps(facts))} | history


@dataclass
class Anchors:
    """Output of a run's generators: texts (t, L) of each class, facts, arrays for the artifacts; ``failure``: why a
    generator diverged."""

    by_class: dict[int, np.ndarray] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, np.ndarray] = field(default_factory=dict)
    failure: str | None = None


@METHODS.register("miso")
@dataclass(frozen=True)
class MISO(CAG):
    """Mutual Information constrained Semantically Oversampling (Tian et al., EMNLP 2021), Algorithm 1: ``CAG``, whose
    minority decoder writes from fused semantics.

    With sentence states Q of minority and K of majority texts, (b, d), paired at random in a batch, the semantic
    fusion module gives, in each of h heads of d/h units,

        Q̄ = [softmax(Q Kᵀ / √τ) Q] softmax(Qᵀ K / √τ)

    and a feed-forward layer; the decoder writes from that. MINEs T_ω+ and T_ω- bound I(Q; Q̄) and I(K; Q̄) from b·h
    triples. Encoder, decoders and fusion descend

        (1 - α) [I(K; Q̄) - I(Q; Q̄)] + α [adversarial losses of both sides],

    α = 1/τ, or ``alpha`` where that is not null; the MINEs ascend both bounds (as printed they would descend a
    difference of lower bounds). While fusion is frozen, in pre-training, a feed-forward layer of (K, Q) stands for it
    and the MINEs learn its output for ``mine_steps``. Marginals are drawn within heads: a bound of the mean over heads.

    An anchor depends on the majority text and the batch beside its source, both drawn anew for each.

    ``fusion_steps``: as printed (0) the fusion is trained in the joint iterations only, so the decoder, which learned
    to write from another layer, starts them with an untrained one. Otherwise encoder, decoders and fusion first learn
    to write from Q̄, at most so many steps, and then the MINEs its bounds, as many, both at ``pretrain_lr``.
    """

    fused: ClassVar[bool] = True
    pretraining: ClassVar[tuple[str, ...]] = (*CAG.pretraining, "lr", "mine_steps")

    mine_steps: Whole
    alpha: Annotated[Fraction | None, "null: 1/tau"]
    fusion_steps: Whole

    def weights(self, tau: float) -> tuple[float, float]:
        alpha = 1 / tau if self.alpha is None else self.alpha
        return 1 - alpha, alpha

    def prepare(self, generator: Generator) -> None:
        if self.fusion_steps:
            generator.fuse(self.fusion_steps)
