"""A selection of records: those that filters choose, where each stands in a table or picture, and its numbers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from imbalance_bench.errors import BenchError, command, suggestion
from imbalance_bench.metrics import scoring
from imbalance_bench.options import flatten, shown
from imbalance_bench.report.records import comparable
from imbalance_bench.report.records.failures import failed
from imbalance_bench.report.records.records import COLUMNS, LABELS, Head, date, left_out, numbers, readout_met, survey
from imbalance_bench.settings.config import labels_shown, value_of
from imbalance_bench.settings.identity import digest
from imbalance_bench.store import Record, outputs_of

if TYPE_CHECKING:
    import pandas as pd

    from imbalance_bench.report.records.collected import Source
    from imbalance_bench.store import Damaged

DATA = "data"  # beside the parts of a config: what the user's own data held
SETTING = ("ratio", "protocol", "backbone")
OF_NUMBERS = ("metric", "class")  # axes that tell apart the numbers of a record, and not records
OF_DATA = ("dataset", "ratio", "protocol")  # groups that say which data a record is of
EACH_CLASS = "class:*"  # the class groups of single classes
RUNS = ("id", "metric", "class_group", "iterate", "run", "fold", "repeat", "value")


def of_data(axis: str) -> bool:
    """Whether an axis says which data a record is of: one of ``OF_DATA``, or an option of one (protocol.folds)."""
    return axis.split(".")[0] in OF_DATA


class Place(NamedTuple):
    """Where a record stands in tables and pictures: which of them, and where in it."""

    setting: str
    row: str
    column: str


@dataclass(frozen=True)
class Asked:
    """Records, and the part of their numbers that is shown.

    ``metrics``: None is the one that heads a record; ``groups`` of classes: None as of ``head_of``; ``readout`` as in
    ``records.READOUTS``; ``part``: test or valid rows; ``rows`` and ``columns``: axes as of ``locate``, and of
    ``OF_NUMBERS``.
    """

    metrics: tuple[str | None, ...] = (None,)
    groups: tuple[str | None, ...] = (None,)
    readout: str = "last"
    part: str = "test"
    rows: tuple[str, ...] = ("dataset",)
    columns: tuple[str, ...] = ("method",)

    @property
    def placed(self) -> tuple[str, ...]:
        return (*self.rows, *self.columns)


@dataclass(frozen=True)
class Selection:
    """Records that count, done and declined, and what is asked of them.

    ``names``: id → its name on each axis (labels, with the options appended that tell equal labels apart);
    ``heads``: id → the metrics and class groups asked for, which are the same for all records of the same data;
    ``runs``: a row a number, columns ``RUNS``, in the order of the records, with ``iterate`` the readout met (what has
    no best epoch stands with its last); ``damaged``: why other records do not count; ``notes``: which records others
    take the place of.
    """

    asked: Asked
    store: Source
    records: list[Record]
    names: dict[str, dict[str, str]]
    heads: dict[str, list[Head]]
    runs: pd.DataFrame
    damaged: list[Damaged]
    notes: list[str]

    @property
    def done(self) -> list[Record]:
        return [record for record in self.records if record["status"] == "done"]

    @property
    def places(self) -> dict[str, Place]:
        """Id → where it stands by the axes asked for."""
        return {r["id"]: place_of(self.names[r["id"]], self.asked.rows, self.asked.columns) for r in self.records}

    def data_of(self, i: str) -> tuple[str, ...]:
        """The data that a record is of: records of the same are comparable."""
        return tuple(self.names[i][axis] for axis in dict.fromkeys([*OF_DATA, *filter(of_data, self.asked.placed)]))

    def unit_of(self, i: str) -> str:
        """The data that a record is of, by the axes asked for: what tests are over."""
        return _joined(self.names[i], [axis for axis in self.asked.placed if of_data(axis)])

    def candidate_of(self, i: str) -> str:
        """Name of what is compared on the same data: a record's on the other axes asked for, methods as a rule."""
        return _joined(self.names[i], [axis for axis in self.asked.placed if not of_data(axis)])


def selection(store: Source, filters: Sequence[str] = (), asked: Asked = Asked()) -> Selection:
    """The records that match ``filters`` (as of ``select.select``), and their numbers.

    Raises:
        BenchError: there is no record, or none has a metric or class group that is asked for; a filter or an axis is
            unknown; records that would be compared were trained or tested on different rows.
    """
    import pandas as pd

    pairs = list(itertools.product(asked.metrics, asked.groups))
    own: dict[str, list[list[Head]]] = {}
    found: dict[str, list[tuple[Any, ...]]] = {}

    def note(record: Record) -> None:
        own[record["id"]] = [_heads(record, *pair, asked.part) for pair in pairs]
        found[record["id"]] = _runs_of(record, list(itertools.chain(*own[record["id"]])), asked)

    records, damaged = some_records(store, filters, note)
    names = names_of(records, asked.rows, asked.columns)
    places = {i: place_of(mine, asked.rows, asked.columns) for i, mine in names.items()}
    records, superseded = newest(records, places)
    refuse_mixed(records, names, asked.placed)
    done = [r for r in records if r["status"] == "done"]
    for number, pair in enumerate(pairs):
        if pair != (None, None) and not any(own[r["id"]][number] for r in done):
            raise no_such_metric(records, *pair, asked.part)
    heads = _shared(records, names, own, pairs)
    for record in done:
        if set(heads[record["id"]]) - set(itertools.chain(*own[record["id"]])):
            found[record["id"]] = _runs_of(dict(record), heads[record["id"]], asked)
    runs = pd.DataFrame([row for r in done for row in found[r["id"]]], columns=list(RUNS))
    kept = {r["id"]: names[r["id"]] for r in records}
    return Selection(asked, store, records, kept, heads, runs, damaged, superseded)


def _heads(record: Record, metric: str | None, group: str | None, part: str) -> list[Head]:
    if group != EACH_CLASS:
        head = head_of(record, metric, group, part)
        return [head] if head else []
    metric = metric or record["headline"]["metric"]
    return [head for head in heads_of(record, part) if head[0] == metric and head[1].startswith(EACH_CLASS[:-1])]


def _shared(
    records: Sequence[Record],
    names: dict[str, dict[str, str]],
    own: dict[str, list[list[Head]]],
    pairs: Sequence[tuple[str | None, str | None]],
) -> dict[str, list[Head]]:
    """Id → the heads of all records of the same data, or where these have none, of the same ratio and protocol."""
    by_data: dict[tuple[str, ...], list[dict[Head, None]]] = {}
    for axes, record in itertools.product((OF_DATA[1:], OF_DATA), records):
        heads = by_data.setdefault(tuple(names[record["id"]][a] for a in axes), [{} for _ in pairs])
        for mine, all_of in zip(own.get(record["id"], ()), heads):
            if pairs[0][1] == EACH_CLASS:
                all_of |= dict.fromkeys(mine)
            elif mine:  # the last record's: one number each
                all_of.clear()
                all_of[mine[0]] = None
    shared = {}
    for record in records:
        data = tuple(names[record["id"]][axis] for axis in OF_DATA)
        for_pairs = [here or near for here, near in zip(by_data[data], by_data[data[1:]])]
        for (metric, group), of_pair in zip(pairs, for_pairs):
            if not of_pair:
                of_pair[metric or "", group or ""] = None
        shared[record["id"]] = list(itertools.chain(*for_pairs))
    return shared


def _runs_of(record: Record, heads: Sequence[Head], asked: Asked) -> list[tuple[Any, ...]]:
    """The rows of ``RUNS`` of a record; none where its validation rows are asked for and cannot be scored."""
    if asked.part == "valid" and scoring.without_validation(record):
        return []
    places = [COLUMNS.index(name) for name in RUNS]
    metric, group, readout = (COLUMNS.index(name) for name in ("metric", "class_group", "iterate"))
    rows, wanted = numbers(record, asked.part), set(heads)
    met = readout_met((row[readout] for row in rows), asked.readout)
    return [
        tuple(row[place] for place in places)
        for row in rows
        if row[readout] == met and (row[metric], row[group]) in wanted
    ]


def some_records(
    store: Source, filters: Sequence[str], note: Callable[[Record], object] | None = None
) -> tuple[list[Record], list[Damaged]]:
    """The records that match ``filters``, and why others do not count; ``note`` as of ``records.survey``. Raises
    BenchError where there is none."""
    records, damaged = survey(store, filters, note)
    if not records:
        why = [f"{one.names['method']} on {one.names['dataset']}: {one.reason}" for one in failed(store, filters)]
        count = f"{len(why)} cell{'s' * (len(why) > 1)} failed, and none has a record"
        remedy = f"run `{command('train')}` or `make demo` first, or point --outputs at the folder that has them"
        raise BenchError(
            f"no records under {store.runs}{f' that match {chr(32).join(filters)}' if filters else ''}: "
            + (count if why else remedy)
            + "".join(f"\n  {note}" for note in [*why[:3], *[f"and {len(why) - 3} more"] * (len(why) > 3)])
            + "".join(f"\n  {note}" for note in left_out(damaged))
        )
    return records, damaged


def no_such_metric(
    records: Sequence[Record], metric: str | None, group: str | None = None, part: str = "test"
) -> BenchError:
    """The error where no record has a metric, or not of a class group; names the nearest that some have."""
    done = [record for record in records if record["status"] == "done"]
    heads = [head for record in done for head in heads_of(dict(record), part)]  # numbers stay in what they are read of
    known = {name for name, _ in heads}
    if not heads:
        why = scoring.without_validation(done[0]) if part == "valid" and done else ""
        what = f"of {part} rows{f': {why}' if why else ''}" if done else "at all: every cell was declined"
        return BenchError(f"no record has a number {what}")
    if metric is None or metric in known:
        mine = {metric} if metric else {record["headline"]["metric"] for record in done}
        groups = {of for name, of in heads if name in mine}
        what = " or ".join(sorted(mine))
        if group == EACH_CLASS:
            single = sorted({name for name, of in heads if of.startswith(EACH_CLASS[:-1])})
            other = f"there are {', '.join(single)}" if single else "leave out --per-class: nothing is of one class"
            return BenchError(f"no record has {what} of single classes: {other}")
        return BenchError(f"no record has {what} of the class group {group}: {suggestion(group or '', groups)}")
    if reason := next(filter(None, (why_absent(record, metric, done) for record in done)), ""):
        return BenchError(f"no record has the metric {metric}: {reason}")
    return BenchError(
        f"no record has the metric {metric}: {suggestion(metric, known)}\n  one of your own: `{command('rescore')} "
        f"'plugins=[<its module>]'{outputs_of(done[0])}` computes it for every cell, without training"
    )


def why_absent(record: Record, metric: str, records: Sequence[Record]) -> str:
    """As ``scoring.why_absent``; the command keeps the calibrations of all ``records``."""
    kinds = itertools.chain(*(other.get("calibration", []) for other in records))
    return scoring.why_absent(record, metric, outputs_of(record), kinds)


def locate(
    records: Sequence[Record], rows: Sequence[str] = ("dataset",), columns: Sequence[str] = ("method",)
) -> dict[str, Place]:
    """Record id → where it stands: labels, with the options appended that tell equal labels apart. A method that trains
    no network stands beside those of the network, where its ratio and protocol have one.

    Args:
        rows, columns: axes, which are labels or keys of the configuration such as ``method.gamma``. The setting has the
            labels of the others; options of the trainer stand with the method, unless it is an axis.
    """
    return {i: place_of(names, rows, columns) for i, names in names_of(records, rows, columns).items()}


def refuse_mixed(records: Sequence[Record], names: dict[str, dict[str, str]], placed: Sequence[str]) -> None:
    """Raises BenchError where records that would be compared, by their names on the axes, are of different rows."""
    axes = (*OF_DATA, "backbone", *filter(of_data, placed))
    comparable.refuse_mixed_rows(records, lambda r: tuple(names[r["id"]][axis] for axis in axes))


def place_of(names: dict[str, str], rows: Sequence[str], columns: Sequence[str]) -> Place:
    setting = [axis for axis in ("method", "dataset", *SETTING) if axis not in (*rows, *columns)]
    return Place(*(_joined(names, axes) for axes in (setting, rows, columns)))


def _joined(names: dict[str, str], axes: Sequence[str]) -> str:
    return ", ".join(names[axis] for axis in axes if axis not in OF_NUMBERS)


def names_of(records: Sequence[Record], rows: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Record id → its name on each axis."""
    placed = [*rows, *columns]
    keys = [axis for axis in placed if axis not in (*LABELS, *OF_NUMBERS)]
    _refuse_unknown(records, keys)
    named: dict[str, dict[str, str]] = {key: {} for key in keys}
    for record in records if keys else ():
        flat = flatten(record["config"])
        for key in keys:
            named[key][record["id"]] = shown(flat[key]) if key in flat else "–"
    for axis in SETTING:
        named[axis] = _named(records, axis, (axis,), lambda r: "", keys)
    if "backbone" not in placed:
        _beside_networks(records, named)
    within = {r["id"]: ", ".join(named[a][r["id"]] for a in SETTING if a not in placed) for r in records}
    parts = {"dataset": ("dataset", DATA), "method": ("method", "trainer", "seed"), "trainer": ("trainer",)}
    if "trainer" in placed:
        parts["method"] = ("method", "seed")
    for axis, options in parts.items():
        named[axis] = _named(records, axis, options, lambda r: within[r["id"]], keys)
    return {r["id"]: {axis: names[r["id"]] for axis, names in named.items()} for r in records}


def _refuse_unknown(records: Sequence[Record], keys: Sequence[str]) -> None:
    if not keys:  # of a hundred thousand records all options take a while
        return
    known = dict.fromkeys(key for record in records for key in flatten(record["config"]))
    for key in keys:
        if key not in known:
            near = suggestion(key, [*LABELS, *OF_NUMBERS, *known])
            raise BenchError(f"no record has the axis or option {key}: {near}")


def _beside_networks(records: Sequence[Record], names: dict[str, dict[str, str]]) -> None:
    ratios, protocols, networks = (names[axis] for axis in SETTING)
    beside: dict[tuple[str, str], set[str]] = {}
    for i in (r["id"] for r in records if not _networkless(r)):
        beside.setdefault((ratios[i], protocols[i]), set()).add(networks[i])
    for i in (r["id"] for r in records if _networkless(r)):
        if len(others := beside.get((ratios[i], protocols[i]), set())) == 1:
            (networks[i],) = others


def _networkless(record: Record) -> bool:
    return shown_labels(record)["backbone"] == "none"


def shown_labels(record: Record) -> dict[str, str]:
    """A record's labels as readers see them."""
    return labels_shown(record["labels"], record["config"])


def network_notes(records: Sequence[Record], places: dict[str, Place]) -> list[str]:
    """Notes on the methods of a setting that names a network which train none."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        setting, _, column = places[record["id"]]
        if _networkless(record) and not setting.endswith(", none"):
            found.setdefault(setting, {})[column] = None
    return [
        f"{setting}: no network and no trainer of networks in {', '.join(sorted(columns, key=natural))}."
        for setting, columns in found.items()
    ]


def _named(
    records: Sequence[Record],
    group: str,
    parts: tuple[str, ...],
    within: Callable[[Record], str],
    but: Sequence[str] = (),
) -> dict[str, str]:
    """Record id → its label of ``group``, with those options of the config's ``parts`` appended, ``but`` for some, in
    which the records of that label (and of equal ``within``) differ."""
    pools: dict[tuple[str, str, bool], list[Record]] = {}
    for record in records:
        label = shown_labels(record)[group]  # what a method that trains no network was given is no option of another
        pools.setdefault((within(record), label, label == record["labels"][group]), []).append(record)
    names = {}
    for (_, label, _), pool in pools.items():
        flat = {r["id"]: flatten({part: _options(r, part) for part in parts}) for r in pool}
        if group == "dataset":
            _spell_alike(flat, pool)
        keys = dict.fromkeys(k for options in flat.values() for k in options if k not in but)
        differing = [k for k in keys if len({repr(value_of(options, k)) for options in flat.values()}) > 1]
        for i, options in flat.items():
            values = ((k.removeprefix(f"{group}."), value_of(options, k, ...)) for k in differing)
            names[i] = " ".join([label, *(f"{k}={comparable.text(value)}" for k, value in values if value is not ...)])
    return names


def _spell_alike(flat: dict[str, dict[str, Any]], records: Sequence[Record]) -> None:
    """Puts one spelling, the shortest, in the place of paths that led to the same content: mine.csv, ./mine.csv and
    /home/me/mine.csv are one data set."""
    paths: dict[tuple[str, str], list[tuple[dict[str, Any], str]]] = {}
    for record in records:
        if own := record.get("contents", {}).get("fingerprint"):
            options = flat[record["id"]]
            for key in (key for key in options if key.endswith(".path")):
                paths.setdefault((digest(own), key), []).append((options, str(options[key])))
    for (_, key), spelled in paths.items():
        shortest = min((path for _, path in spelled), key=lambda path: (len(path), path))
        for options, _ in spelled:
            options[key] = shortest


def _options(record: Record, part: str) -> Any:
    """A part of a record's config; of ``DATA`` what tells versions of the user's own data apart."""
    if part != DATA:
        return record["config"][part]
    own = record.get("contents", {}).get("fingerprint")
    return digest(own)[:6] if own else "not recorded" if "path" in record["config"]["dataset"] else ""


def data_notes(records: Sequence[Record], places: dict[str, Place]) -> list[str]:
    """Notes on which row is of the newest data, where a data set of the user's own was run in several versions."""
    versions: dict[tuple[str, ...], dict[str, Record]] = {}
    for record in sorted(records, key=date):
        setting, row, _ = places[record["id"]]
        if _options(record, DATA):
            path = str(record["config"]["dataset"].get("path"))
            versions.setdefault((setting, record["labels"]["dataset"], path), {})[row] = record
    return [
        f"dataset={label} was run on several versions of its data, a row each; the newest is "
        f"{max(rows, key=lambda row: date(rows[row]))!r}."
        for (_, label, _), rows in versions.items()
        if len({_options(r, DATA) for r in rows.values()}) > 1
    ]


def newest(records: Sequence[Record], places: dict[str, Place]) -> tuple[list[Record], list[str]]:
    """The newest of records in one place, whose labels and options are the same and whose plug-ins or weights were
    changed; and a note on the others."""
    here: dict[Place, list[Record]] = {}
    for record in sorted(records, key=date):
        here.setdefault(places[record["id"]], []).append(record)
    notes = [
        f"{column} on {row}: the newest of {len(found)} records with the same options, whose plug-ins, weights or data "
        f"differ; left out {', '.join(str(r['path']) for r in found[:-1])}."
        for (_, row, column), found in here.items()
        if len(found) > 1
    ]
    kept = {found[-1]["id"] for found in here.values()}
    return [record for record in records if record["id"] in kept], notes


def head_of(record: Record, metric: str | None, group: str | None = None, part: str = "test") -> Head | None:
    """The headline of a record; or ``metric``, of the same class group, or else of all classes, or of the first that
    has it; or of ``group``. None where none has."""
    head = record["headline"]
    if metric is None and group is None:
        return head["metric"], head["class_group"]
    metric = metric or head["metric"]
    groups = [of for name, of in heads_of(record, part) if name == metric]
    if group is not None:
        return next(((metric, named) for named in (group, f"{EACH_CLASS[:-1]}{group}") if named in groups), None)
    return (metric, next(g for g in (head["class_group"], "all", "macro", *groups) if g in groups)) if groups else None


def heads_of(record: Record, part: str = "test") -> dict[Head, None]:
    """Metric and class group of each number of a record, in their order."""
    name, group = COLUMNS.index("metric"), COLUMNS.index("class_group")
    return dict.fromkeys((row[name], row[group]) for row in numbers(record, part))


def natural(text: str) -> list[Any]:
    """A key that sorts ir_50 before ir_100."""
    return [(part.isdigit(), int(part) if part.isdigit() else part) for part in re.split(r"(\d+)", text)]
