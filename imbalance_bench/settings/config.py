"""From the composed YAML to typed objects: checked once, passed on as objects, one home for each default (conf/)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from imbalance_bench.errors import BenchError, command
from imbalance_bench.metrics.thresholds import COST, MOST
from imbalance_bench.options import (
    Betas,
    Count,
    Interval,
    NonNegative,
    OnlyWith,
    Positive,
    Seed,
    Share,
    Text,
    Whole,
    check,
)
from imbalance_bench.plugins import import_plugins
from imbalance_bench.registry import (
    BACKBONES,
    DATASETS,
    GROUPS,
    METHODS,
    NEUTRAL,
    PROTOCOLS,
    RATIOS,
    SEARCH,
    TRACKERS,
    build,
)
from imbalance_bench.settings.objective import Objective

# Keys that every option of a group has (``Registry.shared``), at the value that changes nothing: left out there, so
# that records are alike whether they were made before or after the key was.
SHARED = {"dataset": {"copies": "apart"}}
REGISTRIES = {
    "dataset": DATASETS,
    "ratio": RATIOS,
    "protocol": PROTOCOLS,
    "backbone": BACKBONES,
    "method": METHODS,
    "tracker": TRACKERS,
}
# Methods that train no network and whose ids yet hang on the backbone and trainer chosen (estimators have "none" of
# both); and the networks that are nothing without training, where other backbones make vectors of texts.
NETWORKLESS = ("logistic_regression", "iml", "weob2", "mesa")
NETWORKS = ("mlp", "tabm", "realmlp", "ft_transformer", "tabular_resnet", "lenet", "keras_cnn", "resnet")
# The hydra node of conf/config.yaml, for a configuration that is saved whole.
HYDRA = {
    "output_subdir": None,
    "run": {"dir": "."},
    "sweep": {"dir": "${paths.outputs}/sweeps/${now:%Y-%m-%d_%H-%M-%S-%f}", "subdir": "${hydra.job.num}"},
}
# Keys that may name a file or folder of the user's.
PATHS = {"dataset": "path", "backbone": "model"}
LONGEST_LABEL = 100  # bytes: file systems take 255 for the name of a folder


# The keys outside the groups; for plugins, see ``import_plugins``.
TOP_LEVEL: dict[str, Any] = {
    "seed": Seed,
    "device": Annotated[Text, "auto, cpu, cuda, or cuda:1 for one of several"],
    "objective": Annotated[Text, "what a sweeper is given: valid/<metric>, valid/<class group>/<metric>, test/..."],
    "cache": Literal["reuse", "overwrite"],
    "on_error": Literal["continue", "stop"],
    "checkpoint_minutes": Annotated[NonNegative, "between checkpoints of a long cell; 0: at a signal only"],
    "save": Annotated[bool, "what each run learned, for scripts/predict.py"],
    "plugins": Annotated[tuple[Text, ...], "your own modules, e.g. plugins=[my_method]"],
    "cost": Annotated[float, Interval(gt=0, le=MOST), "of a missed positive, in false alarms"],
    "calibration": Annotated[
        tuple[Literal["temperature", "platt", "isotonic", "prior"], ...],
        "of probabilities, scored beside the plain ones",
    ],
    "slices": Annotated[tuple[Text, ...], "test rows to score apart, e.g. slices=[difficult]"],
}


CHECKPOINT_MINUTES = 5.0
OBJECTIVE = "valid/auc_pr"
# Of these keys those that configurations lack which were saved before there were any.
LATER = {"calibration": [], "slices": [], "save": False, "cost": COST, "checkpoint_minutes": CHECKPOINT_MINUTES}
LATER |= {"objective": OBJECTIVE}


STUDY = "study"  # the key under which the options that a search found (study/best.yaml) say which method they are of
SAME_METHOD = ("name", "estimator")  # of a method: where these agree, what was found for one is an option of the other


@dataclass(frozen=True)
class Trainer:
    """How networks are trained. ``rows``: the part that methods learn from. ``validate_every``: epochs between two
    looks at the validation part. ``schedule`` and the four keys after it: see ``engine/schedule.py``; ``augment``: see
    ``engine/augment.py``. ``precision``: bfloat16 is for convolutions and products only; tf32: a GPU rounds what they
    take to TF32's 10 bits (a CPU computes in float32). ``deterministic``: a GPU's kernels give equal bits every time.
    ``runs_together``: how many runs share a program (null: all of a cell; on a CPU, one at a time of a network with
    convolutions; LSTMs and transformers: one at a time always); it, ``deterministic``, ``backend``, ``channels_last``,
    ``compile`` and ``graph`` (a GPU's steps as CUDA graphs; auto: where there are enough of them, and steps that cannot
    be are called one by one) change no result beyond rounding and are not part of a cell's identity."""

    epochs: Count
    batch_size: Count
    optimiser: Literal["adam", "adamw", "sgd"]
    lr: Positive
    betas: Annotated[Betas, OnlyWith("optimiser", ("adam", "adamw"), otherwise=(0.5, 0.999))]
    momentum: Annotated[NonNegative, OnlyWith("optimiser", ("sgd",), otherwise=0.0)]
    weight_decay: NonNegative
    schedule: Literal["constant", "step", "cosine", "coslog4", "inverse_time"]
    warmup_epochs: Whole
    milestones: Annotated[tuple[Share, ...], "shares of trainer.epochs", OnlyWith("schedule", ("step",), otherwise=())]
    gamma: Annotated[NonNegative, OnlyWith("schedule", ("step",), otherwise=0.1)]
    decay: Annotated[NonNegative, OnlyWith("schedule", ("inverse_time",), otherwise=0.0)]
    augment: Literal["none", "crop_flip", "shift_flip"]
    rows: Literal["train", "train_valid"]
    validate_every: Count
    precision: Literal["float32", "tf32", "float64", "bfloat16"]
    channels_last: bool
    compile: bool
    backend: Literal["stacked", "sequential"]
    runs_together: Annotated[Count | None, "null: all of a cell"]
    # Configurations that were saved before there was a choice lack these.
    deterministic: bool = True
    graph: Literal["auto", True, False] = "auto"


# Of the trainer's options those that concern a whole program: the same for all runs that share one.
OF_ALL = (
    "epochs", "optimiser", "augment", "validate_every", "precision", "channels_last", "compile", "backend",
    "deterministic", "graph",
)  # fmt: skip


@dataclass(frozen=True)
class Paths:
    """``data``: where data sets lie and downloads go; ``outputs``: where runs, tables and figures go."""

    data: Text
    outputs: Text


@dataclass(frozen=True)
class Config:
    """One cell: ``plain`` holds the resolved groups of ``GROUPS`` and the seed as they go into record.json."""

    plain: dict[str, Any]
    tracker: dict[str, Any]
    device: str
    cache: Literal["reuse", "overwrite"]
    paths: Paths
    plugins: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    cost: float = COST
    checkpoint_minutes: float = CHECKPOINT_MINUTES
    calibration: tuple[str, ...] = ()
    save: bool = False
    objective: str = OBJECTIVE

    @property
    def labels(self) -> dict[str, str]:
        """The option chosen in each group, e.g. {"method": "smote", ...}."""
        return labels_of(self.plain)

    def component(self, group: str) -> Any:
        """The object that a group describes (dataset source, ratio, protocol, backbone, method, tracker, trainer)."""
        options = self.tracker if group == "tracker" else self.plain[group]
        if group == "trainer":
            return build(Trainer, options, "trainer")
        return REGISTRIES[group].build(options)

    def replay(self) -> dict[str, Any]:
        """The whole configuration as one primary config: ``scripts/train.py -cp <folder> -cn config`` runs it again,
        from any folder: paths are whole."""
        return {
            "defaults": ["_self_", {"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}],
            **{g: _whole_paths(g, SHARED.get(g, {}) | options) for g, options in self.plain.items() if g != "seed"},
            "seed": self.plain["seed"],
            "tracker": self.tracker,
            "device": self.device,
            "cache": "reuse",
            "objective": self.objective,
            "on_error": "continue",
            "checkpoint_minutes": self.checkpoint_minutes,
            "save": self.save,
            "plugins": list(self.plugins),
            "slices": list(self.slices),
            "cost": self.cost,
            "calibration": list(self.calibration),
            "paths": {name: str(Path(path).absolute()) for name, path in asdict(self.paths).items()},
            "hydra": HYDRA,
        }

    def replay_text(self) -> str:
        """The same as the text of a config.yaml."""
        import yaml

        # libyaml's dumper where there is one: the Python one takes longer than all other files of a cell together.
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        return str(yaml.dump(self.replay(), Dumper=dumper, sort_keys=False))


def _whole_paths(group: str, options: Any) -> Any:
    """The options of a group, with a path that leads to something written as it is found from any folder."""
    key = PATHS.get(group, "")
    path = Path(str(options[key])).expanduser() if key and options.get(key) else None
    return options | {key: str(path.absolute())} if path is not None and path.exists() else options


def label_of(option: str) -> str:
    """Label of an option of conf/ in tables and records: dos/k3 is dos_k3."""
    return option.replace("/", "_")


def cell_name(labels: dict[str, str]) -> str:
    """What a cell is called on the terminal."""
    return " ".join(labels[group] for group in ("method", "dataset", "ratio"))


def labels_of(plain: dict[str, Any]) -> dict[str, str]:
    """The label of the option in each group of ``Config.plain``."""
    return {group: plain[group]["label"] for group in GROUPS}


def labels_shown(labels: dict[str, str], plain: dict[str, Any]) -> dict[str, str]:
    """Labels as readers see them: "none" for a network and a trainer of networks that play no part."""
    if plain["method"].get("name") not in NETWORKLESS:
        return labels
    unused = ("trainer", "backbone") if plain["backbone"].get("name") in NETWORKS else ("trainer",)
    return labels | dict.fromkeys(unused, "none")


def value_of(options: Mapping[str, Any], key: str, absent: Any = None) -> Any:
    """The value of an option in a record's ``options`` by their dotted keys; where it is left out of records as long as
    it changes nothing, the one that it then has."""
    group, _, name = key.partition(".")
    return options.get(key, (SHARED.get(group, {}) | NEUTRAL.get(group, {})).get(name, absent))


def plain_of(cfg: dict[str, Any]) -> dict[str, Any]:
    """The part of a composed configuration that determines a result."""
    for group in GROUPS:
        if cfg.get(group) is None:
            raise BenchError(f"no {group} was chosen: add {group}=<option> ({command('train')} --help lists them)")
        if not isinstance(cfg[group], dict):
            raise BenchError(
                f"{group}={cfg[group]} is not an option here: a saved config has no options, it holds all keys of its "
                f"{group}. Change one of those ({group}.<key>=<value>), or leave out -cp and -cn"
            )
        cfg[group] = _without_search(cfg[group])
        cfg[group].setdefault("label", cfg[group].get("name", group))
        _check_label(group, cfg[group]["label"])
        for key, unchanged in SHARED.get(group, {}).items():
            if cfg[group].get(key) == unchanged:
                del cfg[group][key]
    return {**{group: cfg[group] for group in GROUPS}, "seed": cfg["seed"]}


def _without_search(options: dict[str, Any]) -> dict[str, Any]:
    """Options without the values that scripts/search.py tries, which determine no result; those of a component within
    (method.resampler) too."""
    return {
        key: _without_search(value) if isinstance(value, dict) and "name" in value else value
        for key, value in options.items()
        if key != SEARCH
    }


def _check_label(group: str, label: Any) -> None:
    """A label names a folder, and rows and columns of tables: text, as it is meant to be read."""
    if not isinstance(label, str):
        text = f"'{label}'" if isinstance(label, (int, float)) else "<a name>"
        raise BenchError(
            f"{group}.label={label!r} is read as {type(label).__name__}, and a label is text: quotes within quotes "
            f'keep it as it stands, {group}.label="{text}"'
        )
    if not label.strip() or not label.isprintable() or len(label.encode()) > LONGEST_LABEL:
        raise BenchError(
            f"{group}.label={label!r} names a folder and the rows of tables: give it 1 to {LONGEST_LABEL} printable "
            "characters"
        )


def check_top_level(cfg: Any) -> None:
    """Raises BenchError for a value outside the groups that no cell can have; plug-ins are not looked at, since that
    imports them."""
    from omegaconf import OmegaConf

    for key, hint in TOP_LEVEL.items():
        if key in cfg and key != "plugins":
            value = cfg[key]
            check(hint, OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value, key)


def from_omegaconf(cfg: Any) -> Config:
    """The typed configuration of a composed Hydra config; imports the user's plugins first."""
    from omegaconf import OmegaConf

    plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    plain = LATER | plain
    for key in (*TOP_LEVEL, "paths"):
        if key not in plain:
            raise BenchError(f"the configuration has no {key}: leave ~{key} out; a saved one (-cp) may be cut off")
    if not isinstance(plain.get("tracker"), dict):
        raise BenchError("no tracker was chosen: add tracker=none, or leave ~tracker out")
    import_plugins(plain["plugins"])
    plain |= {key: check(hint, plain[key], key) for key, hint in TOP_LEVEL.items()}
    Objective.parse(plain["objective"])
    of_cell = plain_of(plain)
    _check_found(plain.get(STUDY), of_cell["method"])
    return Config(
        plain=of_cell,
        tracker=plain["tracker"],
        paths=build(Paths, plain["paths"], "paths"),
        plugins=plain["plugins"],
        slices=plain["slices"],
        cost=plain["cost"],
        calibration=plain["calibration"],
        save=plain["save"],
        objective=plain["objective"],
        device=plain["device"],
        cache=plain["cache"],
        checkpoint_minutes=plain["checkpoint_minutes"],
    )


def _check_found(study: Any, method: Mapping[str, Any]) -> None:
    """Raises BenchError where options that a search found are of another method; None: there are none such."""
    if study is not None and any(study.get(key) != method.get(key) for key in SAME_METHOD):
        raise BenchError(
            f"+study=best sets options that were found for method={study['label']}, and here they would be set of "
            f"method={method['label']}: leave out one of them"
        )
