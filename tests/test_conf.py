"""conf/: every option builds, ids say what determines a result and nothing else, presets are what Hydra composes."""

from __future__ import annotations

import copy
import random
import re
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import pytest
from omegaconf import OmegaConf
from PIL import Image

from imbalance_bench.errors import BenchError
from imbalance_bench.options import Count, MinLen, Share, idle
from imbalance_bench.registry import DATASETS, GROUPS, METHODS, NEUTRAL, Registry, build
from imbalance_bench.settings.conf_files import ConfFiles, hydra_started, keys_of
from imbalance_bench.settings.config import REGISTRIES, Config, Trainer, from_omegaconf, label_of, plain_of
from imbalance_bench.settings.identity import cell_id
from imbalance_bench.settings.presets import load_preset, papers, presets
from tests import records
from tests.cells import by_label, cell, composed, composed_by_hydra
from tests.tasks import CONF, option, options_of, require

OPTIONS = [(group, option) for group in (*GROUPS, "tracker") for option in options_of(group)]
# An option that makes no sense by itself: what the user adds to it.
NEEDS = {("ratio", "class_list"): ["ratio.keep={1: 0.5}"]}
PRESETS = [(p, name) for p in papers() for name in presets(p)]


@cache
def config(*overrides: str) -> Config:
    return from_omegaconf(composed(*overrides))


def reach(group: str, label: str) -> str | None:
    """Of an option and what it is based on, the one that changes other groups too."""
    path = CONF / group / f"{label}.yaml"
    if "_global_" in (text := path.read_text()):
        return label
    content = OmegaConf.create(text) if "defaults:" in text else {}
    bases = [base for base in content.get("defaults", []) if isinstance(base, str)]
    return next((r for base in bases if (CONF / group / f"{base}.yaml").exists() if (r := reach(group, base))), None)


@cache
def chosen(group: str, label: str, *more: str) -> Config:
    """The default cell with another option: of the keys that ``test_options_are_read_without_hydra`` compares."""
    if more or group == "tracker":
        return config(f"{group}={label}", *more)
    reaching = reach(group, label)
    made = composed(*[f"{group}={reaching}"] if reaching else [])
    made[group] = option(group, label_of(label))
    return from_omegaconf(made)


@pytest.mark.parametrize("group, label", OPTIONS)
def test_every_option_builds(group, label):
    if group == "tracker" and label != "none":
        pytest.importorskip(label)
    made = chosen(group, label, *NEEDS.get((group, label), []))
    if group == "method":
        require(made.plain["method"])
    assert made.component(group) is not None
    if group != "tracker":
        assert made.labels[group] == label_of(label)
        assert set(made.labels) == set(GROUPS)
        for other in set(GROUPS) - {group, "trainer"}:  # a method may be one that is trained in another way
            if made.plain[other] != config().plain[other]:  # ... or one that trains no network
                assert (group, other) == ("method", "backbone")
                assert made.labels["backbone"] == made.labels["trainer"] == "none"


@pytest.mark.parametrize("group", GROUPS)
def test_options_are_read_without_hydra_as_hydra_reads_them(group):
    """Some in one composition, each at a place of its own: Hydra takes 0.1 s to compose a cell for each."""
    common = {"copies": "apart"} if group == "dataset" else {}  # conf/config.yaml
    every = options_of(group)
    for some in (every[i : i + 50] for i in range(0, len(every), 50)):
        whole = composed_by_hydra(*(f"+{group}@x{i}={label}" for i, label in enumerate(some)))
        for i, label in enumerate(some):
            found = OmegaConf.to_container(whole[f"x{i}"], resolve=True)
            own = {key: value for key, value in found.items() if key not in GROUPS} | found.get(group, {})
            assert common | own == option(group, label_of(label)), label


@pytest.mark.parametrize(
    "group, label",
    # The slow ones change no other group: the test above is of them.
    [pytest.param(*o, marks=() if reach(*o) == o[1] else pytest.mark.slow) for o in OPTIONS if o[0] != "tracker"],
)
def test_an_option_is_what_hydra_composes(group, label):
    more = NEEDS.get((group, label), [])
    whole = from_omegaconf(composed_by_hydra(f"{group}={label}", *more))
    assert whole.plain == chosen(group, label, *more).plain


def test_every_registered_component_has_an_option():
    for group, registry in REGISTRIES.items():
        used = {OmegaConf.load(CONF / group / f"{label}.yaml").get("name") for g, label in OPTIONS if g == group}
        assert set(registry.names()) <= used, group


def test_the_defaults_are_the_first_cell_of_a_new_user():
    assert config().labels == {
        "dataset": "breast_cancer", "ratio": "native", "protocol": "holdout_kfold", "backbone": "mlp",
        "trainer": "adam", "method": "cross_entropy",
    }  # fmt: skip
    assert (config().paths.outputs, config().device, config().cache) == ("outputs", "auto", "reuse")


# Presets


@pytest.mark.parametrize(
    "paper, name",
    # One a paper is quick; each of them takes seconds to compose, and tests/grids.json holds the cells of all.
    [pytest.param(p, n, marks=() if n == presets(p)[0] else pytest.mark.slow) for p, n in PRESETS],
)
def test_the_cells_of_a_preset_are_those_that_hydra_composes(paper, name):
    """A grid puts cells together from one composition an option; here each is composed for itself. Composing a whole
    grid takes seconds: two cells are drawn, and the grid is narrowed to their options."""
    whole = records.preset(paper, name)
    axes = records.axes_of(paper, name)

    def at(labels: dict[str, str], values: dict[str, Any]) -> tuple[str, ...]:
        """A cell's place: an axis is a group (its option is the label) or a key of one."""
        return tuple(labels[a] if a in GROUPS else str(OmegaConf.select(OmegaConf.create(values), a)) for a in axes)

    places = [tuple(c.labels[a] if a in GROUPS else c.config[a] for a in axes) for c in whole.cells]
    drawn = random.Random(name).sample(places, min(2, len(places)))
    options = [list(dict.fromkeys(place[i] for place in drawn)) for i in range(len(axes))]
    grid = load_preset(paper, name, [by_label(axis, *some) for axis, some in zip(axes, options)])
    assert grid.paper["name"] == paper
    assert len({c.id for c in grid.cells}) == len(grid.cells) > 0
    found = {at(c.labels, c.config): c for c in grid.cells}
    assert set(found) == {p for p in places if all(value in some for value, some in zip(p, options))}
    for place in drawn:
        overrides = [by_label(axis, value) for axis, value in zip(axes, place)]
        plain = plain_of(OmegaConf.to_container(composed_by_hydra(f"+paper={paper}/{name}", *overrides), resolve=True))
        assert plain == found[place].config
        assert cell_id(plain) == found[place].id


def test_overrides_narrow_a_preset_and_change_its_cells():
    def grid(*overrides: str) -> list[Any]:
        return load_preset("explicit_gradient", "table3", list(overrides)).cells

    narrow = grid("dataset=ecoli,oil", "method=focal,mesa")
    assert [(c.labels["dataset"], c.labels["method"]) for c in narrow] == [("ecoli", "focal"), ("oil", "focal")]
    with_mesa = grid("dataset=ecoli,oil", "method=focal,mesa", "paper.cells=null")
    assert len(with_mesa) == 4
    assert {c.id for c in narrow} < {c.id for c in with_mesa}
    longer = grid("dataset=ecoli", "method=focal", "trainer.epochs=50")
    assert [c.config["trainer"]["epochs"] for c in longer] == [50]
    assert longer[0].id not in {c.id for c in with_mesa}
    swept = grid("dataset=ecoli", "method=focal", "method.gamma=1,2,5")
    assert [c.config["method"]["gamma"] for c in swept] == [1, 2, 5]
    assert swept[1].id == narrow[0].id


def test_a_method_that_changes_the_trainer_changes_every_trainer():
    swept = ["dataset=ecoli", "method=cross_entropy,cross_entropy/400", "trainer=adam,sgd"]
    epochs = {}
    for c in load_preset("explicit_gradient", "table2", swept).cells:
        epochs[c.labels["trainer"], c.labels["method"]] = c.config["trainer"]["epochs"]
        chosen = [by_label(group, c.labels[group]) for group in ("dataset", "method", "trainer")]
        assert cell_id(config("+paper=explicit_gradient/table2", *chosen).plain) == c.id
    assert epochs == {
        (t, m): n for t in ("adam", "sgd") for m, n in (("cross_entropy", 200), ("cross_entropy_400", 400))
    }


def test_a_grid_of_which_nothing_is_left_says_why():
    with pytest.raises(BenchError, match="no cell is left: table3 has dataset=oil with method=cwgan,focal,"):
        load_preset("explicit_gradient", "table3", ["dataset=oil", "method=mesa"])


def test_an_unknown_preset_or_option_offers_the_nearest():
    with pytest.raises(BenchError, match="unknown paper explicit_gradent: did you mean explicit_gradient"):
        load_preset("explicit_gradent", "table1", [])
    with pytest.raises(BenchError, match="unknown preset explicit_gradient/tabel1: did you mean table1"):
        load_preset("explicit_gradient", "tabel1", [])
    with pytest.raises(BenchError, match="unknown dataset=ecolli: did you mean ecoli"):
        load_preset("explicit_gradient", "table2", ["dataset=oil,ecolli"])
    with pytest.raises(BenchError, match="unknown method=dos_k3: did you mean dos/k3"):  # a label
        load_preset("dos", "table6", ["method=dos_k3"])
    with pytest.raises(BenchError, match=r"\? Any other ratio is an option's r: ratio=ir_20 ratio.r=75"):
        load_preset("explicit_gradient", "table2", ["ratio=ir_75"])
    with pytest.raises(BenchError, match=r"known: (\S+, ){11}\S+ and \d+ more \(.*train.* --help lists all\)"):
        load_preset("explicit_gradient", "table2", ["method=xyzzyx"])


def test_options_of_all_folders_are_listed_from_one_look_at_the_places(monkeypatch):
    """Hydra's own list of a group takes 20 ms to make ready, and conf/method has some thirty folders."""
    looks: list[object] = []
    with hydra_started() as loader:
        files = ConfFiles(loader)
        look = loader._parse_overrides_and_create_caching_repo
        monkeypatch.setattr(
            loader, "_parse_overrides_and_create_caching_repo", lambda *given: looks.append(given) or look(*given)
        )
        for group in GROUPS:
            assert files.options(group) == list(options_of(group))
        assert len(looks) == 1
        assert set(loader.get_group_options("method")) == {o for o in options_of("method") if "/" not in o}


def test_the_keys_of_a_group_are_known_whatever_else_an_option_sets():
    """method=setconv has a trainer of its own, whose keys are not the method's."""
    assert "post_size" in keys_of("method", "setconv") and "lr" not in keys_of("method", "setconv")
    assert "width" in keys_of("method", "miso")  # what it is based on


# Identity


def test_no_two_options_share_an_id(tmp_path):
    """But those that are the same cell under two names."""
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,x\n")
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "pets" / name / "1.png")
    extra = {
        ("dataset", "csv"): [f"dataset.path={table}", "dataset.target=b"],
        ("dataset", "texts"): [f"dataset.path={table}", "dataset.text=a", "dataset.target=b"],
        ("dataset", "image_folder"): [f"dataset.path={tmp_path / 'pets'}"],
    }
    ids: dict[str, list[str]] = {}
    for group, label in OPTIONS:
        if group != "tracker":
            made = chosen(group, label, *NEEDS.get((group, label), []), *extra.get((group, label), []))
            ids.setdefault(cell_id(made.plain), []).append(label)
    shared = [labels for labels in ids.values() if len(labels) > 1]
    # The default cell, once a group; trainer=none has the settings of adam, which nothing reads.
    assert shared == [["breast_cancer", "native", "holdout_kfold", "mlp", "adam", "none", "cross_entropy"]]


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: reordered(value[k]) for k in reversed(value)}
    return value


def test_an_id_does_not_depend_on_what_determines_no_result():
    base = cell_id(config().plain)
    assert cell_id(reordered(config().plain)) == base
    renamed = copy.deepcopy(config().plain)
    for group in GROUPS:
        renamed[group]["label"] = "another"
    assert cell_id(renamed) == base
    for override in (
        "device=cpu", "paths.outputs=elsewhere", "paths.data=elsewhere", "tracker=tensorboard", "cache=overwrite",
        "on_error=stop", "trainer.backend=sequential", "trainer.runs_together=1", "trainer.lr=0.001",
        "trainer.weight_decay=0", "method=cross_entropy", "method.label=mine",
    ):  # fmt: skip
        assert cell_id(config(override).plain) == base, override


def test_an_id_depends_on_all_that_determines_a_result():
    ids = [cell_id(config().plain)]
    for override in (
        "seed=1", "protocol.seed=1", "protocol.seeds=2", "ratio.seed=1", "ratio=ir_20", "trainer.epochs=201",
        "trainer.lr=0.002", "trainer.precision=float64", "trainer.validate_every=2", "dataset.scale=zscore",
        "backbone.hidden=[16,128]", "method=focal", "trainer.betas=[0.9,0.999]", "protocol.folds=5",
    ):  # fmt: skip
        ids.append(cell_id(config(override).plain))
    assert len(set(ids)) == len(ids)


def test_a_method_that_is_trained_in_another_way_is_that_training():
    assert config("method=cross_entropy/400").plain["trainer"]["epochs"] == 400
    assert cell_id(config("method=cross_entropy/400").plain) == cell_id(config("trainer.epochs=400").plain)


def test_a_table_of_your_own_is_known_by_its_content_not_its_place(tmp_path):
    def identity(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return cell_id(config("dataset=csv", f"dataset.path={tmp_path / name}", "dataset.target=b").plain)

    first = identity("one.csv", "a,b\n1,x\n2,y\n")
    assert identity("two.csv", "a,b\n1,x\n2,y\n") == first
    assert identity("three.csv", "a,b\n1,x\n3,y\n") != first


def test_cells_of_your_own_files_keep_their_ids(tmp_path):
    """Ids that were given out before the sources had the keys of ``NEUTRAL``."""
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,x\n2,y\n")
    rows = ("dataset=csv", f"dataset.path={table}", "dataset.target=b")
    texts = ("dataset=texts", f"dataset.path={table}", "dataset.target=b", "dataset.text=a", "backbone=lsa")
    plains = [config(*options).plain for options in (rows, texts)]
    assert [cell_id(plain) for plain in plains] == ["1afa35600b82", "f9a5e4276120"]
    for plain in plains:  # and what was saved without them can be run again
        saved = {key: value for key, value in plain["dataset"].items() if NEUTRAL["dataset"].get(key, ...) != value}
        assert len(saved) < len(plain["dataset"])
        assert DATASETS.build(saved) == DATASETS.build(plain["dataset"])
        assert cell_id(plain | {"dataset": saved}) == cell_id(plain)


# A configuration that is saved


def test_a_saved_configuration_runs_again_from_any_folder(tmp_path, monkeypatch):
    """Its relative paths are whole, and it does not say again that a result shall be overwritten."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "model").mkdir()
    own = ["dataset=csv", "dataset.path=mine.csv", "dataset.target=b", "backbone=frozen_transformer"]
    made = from_omegaconf(composed(*own, "backbone.model=model", "cache=overwrite", "paths.data=data"))
    saved = made.replay()
    assert saved["cache"] == "reuse"
    assert saved["dataset"]["path"] == str(tmp_path / "mine.csv")
    assert saved["backbone"]["model"] == str(tmp_path / "model")
    assert saved["paths"] == {"data": str(tmp_path / "data"), "outputs": str(tmp_path / "outputs")}
    assert made.plain["dataset"]["path"] == "mine.csv"  # as it was given, in the record
    hub = from_omegaconf(composed("backbone=frozen_transformer", "backbone.model=owner/name")).replay()
    assert hub["backbone"]["model"] == "owner/name"


def test_the_hydra_node_of_a_saved_configuration_is_that_of_the_whole():
    whole = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))["hydra"]
    saved = config().replay()["hydra"]
    assert saved == {key: whole[key] for key in saved}
    assert saved.keys() == {"output_subdir", "run", "sweep"}


# Labels


@pytest.mark.parametrize("value", ["2024", "1.5", "true", "null", "[a]", "{a: 1}", "1_1", "1e5", "inf", "''", "' '"])
@pytest.mark.parametrize("group", ["dataset", "method", "trainer"])
def test_a_label_is_text_before_anything_is_trained(group, value):
    with pytest.raises(BenchError, match=rf"{group}\.label=") as error:
        from_omegaconf(composed(f"{group}.label={value}"))
    if advice := re.search(rf'({group}\.label)="(\'.*\')"', str(error.value)):  # works when it is taken
        taken = from_omegaconf(composed(f"{advice[1]}={advice[2]}"))
        assert taken.labels[group] == advice[2].strip("'")


@pytest.mark.parametrize("value", ["two\nlines", "x" * 200, "é" * 60])
def test_a_label_is_the_name_of_a_folder(value):
    cfg = OmegaConf.to_container(composed(), resolve=True)
    cfg["dataset"]["label"] = value
    with pytest.raises(BenchError, match="printable characters"):
        plain_of(cfg)


# Errors of a configuration


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["method.name=smotte"], "unknown method name='smotte': did you mean smote"),
        (["method=focal", "method.gamma=high"], "method.gamma='high' must be a number"),
        (["method=smote", "method.amount=tripled"], "method.amount='tripled' must be one of doubled, balanced"),
        (["method=smote", "+method.neighbours=3"], "unknown key method.neighbours: did you mean k_neighbors"),
        (["+method.gamma=1"], "unknown key method.gamma: there are none"),
        (["method=focal", "method.gamma=-1"], "method.gamma=-1 must be a number, at least 0"),
        (
            ["method=focal", "method.alpha=2"],
            r"method.alpha=2 must be .* at least 0 and at most 1, or null \(null: no we",
        ),
        (["method=ldam", "method.max_margin=-0.5"], "method.max_margin=-0.5 must be a number, at least 0"),
        (["method=ldam", "method.scale=0"], "method.scale=0 must be a number, above 0"),
        (
            ["method=ldam", "method.drw_from=160"],
            r"method.drw_from=160 must be .* at most 1, or null \(.*null: never",
        ),
        (["method=ldam", "method.drw_beta=1"], "method.drw_beta=1 must be a number, at least 0 and below 1"),
        (
            ["method=explicit_gradient", "method.meta_epochs=0"],
            "method.meta_epochs=0 must be a whole number, at",
        ),
        (
            ["method=explicit_gradient", "method.valid_batch=0"],
            "method.valid_batch=0 must be a whole number, at",
        ),
        (["method=explicit_gradient", "method.eta1=0"], "method.eta1=0 must be a number, above 0"),
        (["method=explicit_gradient", "method.eta2=-1"], "method.eta2=-1 must be a number, at least 0"),
        (["method=smote", "~method.amount"], "missing key method.amount"),
        (["trainer.epochs=2.5"], "trainer.epochs=2.5 must be a whole number"),
        (["trainer.epochs=true"], "trainer.epochs=true must be a whole number"),
        (["trainer.epochs=0"], "trainer.epochs=0 must be a whole number, at least 1"),
        (["trainer.lr=-1"], "trainer.lr=-1 must be a number, above 0"),
        (["trainer.betas=[0.5]"], r"trainer.betas=\[0.5\] must be a list of 2 numbers, each at least 0 and below 1"),
        (["trainer.betas=0.5"], "trainer.betas=0.5 must be a list of 2 numbers"),
        (["trainer.betas=[0.5,x]"], r"trainer.betas=\[0.5, 'x'\] must be a list of 2 numbers, .*: \[1\] is 'x'"),
        (
            ["trainer.runs_together=two"],
            "trainer.runs_together='two' must be a whole number, at least 1, or null",
        ),
        (
            ["trainer.betas=[0.5,1]"],
            "must be a list of 2 numbers, each at least 0 and below 1 .*: .1. is 1",
        ),
        (["trainer.lr=inf"], "trainer.lr=inf must be a number, above 0, and finite"),
        (["trainer.momentum=-1"], "trainer.momentum=-1 must be a number, at least 0"),
        (["trainer.weight_decay=-1"], "trainer.weight_decay=-1 must be a number, at least 0"),
        (["trainer.runs_together=0"], "trainer.runs_together=0 must be a whole number, at least 1, or null"),
        (["trainer.runs_together=-1"], "trainer.runs_together=-1 must be a whole number, at least 1, or null"),
        (["trainer.optimiser=lion"], "trainer.optimiser='lion' must be one of adam, adamw, sgd"),
        (["protocol.folds=1"], "protocol.folds=1 must be a whole number, at least 2"),
        (["protocol.seeds=0"], "protocol.seeds=0 must be a whole number, at least 1"),
        (["ratio=ir_50", "ratio.r=0.5"], "ratio.r=0.5 must be a number, at least 1"),
        (["ratio=class_list"], "ratio.keep="),
        (["dataset=ecoli", "dataset.set=ecolli"], "unknown dataset.set='ecolli': did you mean ecoli"),
        (["dataset.set=iris"], "dataset.set='iris' must be one of breast_cancer, digits, wine"),
        (["seed=-1"], "seed=-1 must be a whole number"),
        (["seed=one"], "seed='one' must be a whole number"),
        (["cache=refresh"], "cache='refresh' must be one of reuse, overwrite"),
        (["paths.outputs=7"], "paths.outputs=7 must be text"),
        (["device=5"], "device=5 must be text"),
        (["seed=nan"], "seed=nan must be a whole number, at least 0 and below 2.32, and finite"),
        (["trainer.lr=1e308"], "trainer.lr=1e.308 must be a number, above 0, and finite .in float32"),
        (["backbone=frozen_transformer", "backbone.model=5"], "backbone.model=5 must be text, not empty, or null"),
        (["plugins=[no_such_module]"], r"plugins=\[no_such_module\]: no no_such_module.py in "),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_override(overrides, message):
    with pytest.raises(BenchError, match=message):
        made = from_omegaconf(composed(*overrides))
        for group in (*GROUPS, "tracker"):
            made.component(group)


def test_numbers_may_be_written_either_way(tmp_path):
    made = cell(tmp_path, "trainer.lr=1", "trainer.betas=[0,1e-1]", "trainer.runs_together=2").component("trainer")
    assert isinstance(made, Trainer)
    assert (made.lr, made.betas, made.runs_together) == (1.0, (0.0, 0.1), 2)
    assert isinstance(made.lr, float)


# Registries


@dataclass(frozen=True)
class Sample:
    size: Count
    share: Annotated[Share | None, "null: all"]
    kind: Literal["a", "b"]
    tags: Annotated[list[str], MinLen(1)]
    version: Literal[1, 2] = 1
    keep: dict[int, Share | Count] | None = None


GOOD = {"size": 3, "share": None, "kind": "a", "tags": ["x"]}


def test_a_mapping_becomes_a_typed_object():
    assert build(Sample, GOOD, "sample") == Sample(3, None, "a", ["x"])
    made = build(Sample, GOOD | {"share": 0.5, "label": "for people", "keep": {0: 0.5, 1: 20}}, "sample")
    assert made.share == 0.5
    assert repr(made.keep) == "{0: 0.5, 1: 20}"  # whole numbers stay whole where both are allowed


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sise": 3}, "unknown key sample.sise: did you mean size"),
        ({"size": 0}, "sample.size=0 must be a whole number, at least 1"),
        ({"size": 10**30}, "sample.size=1e\\+30 must be a whole number, at least 1"),
        ({"size": 10**5000}, "sample.size=a number of more than 300 digits must be a whole number, at least 1"),
        ({"share": 10**400}, "sample.share=a number of more than 300 digits must be a number"),
        ({"share": float("nan")}, "sample.share=nan must be a number, above 0 and below 1, or null .*, and finite"),
        ({"share": 1}, "sample.share=1 must be a number, above 0 and below 1, or null"),
        ({"tags": []}, r"sample.tags=\[\] must be a list of one or more texts"),
        ({"version": True}, "sample.version=true must be one of 1, 2"),
        ({"version": [1]}, r"sample.version=\[1\] must be one of 1, 2"),
        ({"keep": {0: 1.0}}, r"sample.keep={0: 1.0} must be a mapping .*: \[0\] is 1.0"),
        ({"keep": {"x": 1}}, r"sample.keep={x: 1} must be a mapping .*: key x is 'x'"),
        ({"size": "3"}, "sample.size='3' must be a whole number, at least 1"),
        ({"size": None}, "sample.size=null must be a whole number"),
        ({"size": True}, "sample.size=true must be a whole number"),
        ({"share": "much"}, r"sample.share='much' must be a number, above 0 and below 1, or null \(null: all\)"),
        ({"kind": "c"}, "sample.kind='c' must be one of a, b"),
        ({"tags": "x"}, "sample.tags='x' must be a list of one or more texts"),
        ({"tags": ["x", 1]}, r"sample.tags=\['x', 1\] must be a list of one or more texts: \[1\] is 1"),
    ],
)
def test_keys_are_checked_against_the_annotations(change, message):
    with pytest.raises(BenchError, match=message):
        build(Sample, GOOD | change, "sample")
    for key in GOOD:
        with pytest.raises(BenchError, match=f"missing key sample.{key}: "):
            build(Sample, {k: v for k, v in GOOD.items() if k != key}, "sample")


def test_a_registry_knows_names_and_refuses_two_of_one():
    registry = Registry("sample", "tests.no_package_is_imported_before_the_first_look_up")
    registry.register("good")(Sample)
    registry.register("good")(Sample)  # a module that is imported twice

    class Other:
        pass

    with pytest.raises(BenchError, match="sample 'good' is registered twice: tests.test_conf and tests.test_conf"):
        registry.register("good")(Other)


def test_an_unknown_name_offers_the_nearest_or_all():
    with pytest.raises(BenchError, match="unknown method name='focus': did you mean focal"):
        METHODS.get("focus")
    with pytest.raises(BenchError, match="unknown method name='xyz': known: adasyn, "):
        METHODS.get("xyz")
    with pytest.raises(BenchError, match="method needs a name: known: adasyn"):
        METHODS.build({"gamma": 2})


@pytest.mark.parametrize(
    ("words", "advised"),
    [
        (["method=class_balanced", "method.gamma=3"], "method.gamma=1.0"),
        (["method=ldam", "method.drw_beta=0.5"], "method.drw_beta=0.9999"),
        (["method=cwgan", "method.ac_weight=0", "method.ac_floor=1"], "method.ac_floor=0.3"),
        (["method=cwgan", "method.ac_weight=0", "method.ac_hidden=[9]"], "method.ac_hidden=[64,64]"),
        (["method=dos", "method.decisions=[lr]", "method.neighbours=3"], "method.neighbours=5"),
        (["method=dos", "method.decisions=[]", "method.c=2"], "method.c=1.0"),
        (["method=setconv", "method.output_rate=2"], "method.output_rate=1.0"),
        (["dataset=adult", "dataset.encoding=columns_14", "dataset.pca=3"], "dataset.pca=null"),
        (["trainer.momentum=0.9"], "trainer.momentum=0.0"),
        (["trainer.gamma=0.5", "trainer.milestones=[0.5]"], "trainer.milestones=[] trainer.gamma=0.1"),
        (["trainer.decay=0.5"], "trainer.decay=0.0"),
        (["trainer=sgd", "trainer.betas=[0.9,0.99]"], "trainer.betas=[0.5,0.999]"),
        (["trainer=sgd", "trainer.optimiser=adam"], "trainer.momentum=0.0"),
    ],
)
def test_an_option_that_plays_no_part_is_told_with_its_default(words, advised):
    group = advised.partition(".")[0]
    said = idle(from_omegaconf(composed(*words)).component(group), group)
    assert f"changes nothing but the cell's id: {advised} is the cell that others have" in said
    assert idle(from_omegaconf(composed(*words, *advised.split())).component(group), group) == ""


def test_an_option_plays_its_part_where_the_other_one_says_so():
    for words in (
        ["method=class_balanced/focal", "method.gamma=3"],
        ["method=ldam/drw", "method.drw_beta=0.5"],
        ["trainer=sgd", "trainer.momentum=0.5", "trainer.schedule=step", "trainer.gamma=0.5"],
    ):
        group = words[0].partition("=")[0]
        assert idle(from_omegaconf(composed(*words)).component(group), group) == ""
