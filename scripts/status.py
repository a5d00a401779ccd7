"""Lists the cells that were started: how many are done, declined, running, failed, and why those failed."""

import sys
from collections import Counter

from imbalance_bench import interrupts, scoring
from imbalance_bench.arguments import ArgumentParser
from imbalance_bench.errors import BenchError
from imbalance_bench.select import select
from imbalance_bench.store import CellFolder, Store


def main() -> int:
    """Prints the list; the exit status is 1 while a cell is failed, damaged or left unfinished."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--outputs", default="outputs", help="the folder of paths.outputs (default: outputs)")
    parser.add_argument("--all", action="store_true", help="list finished cells too")
    parser.add_argument("wanted", nargs="*", help="ids, or filters such as method=smote,ada* dataset=ecoli")
    arguments = parser.parse_intermixed_args()
    store = Store(arguments.outputs)

    def names(cell: CellFolder) -> dict[str, str]:
        *labels, name = cell.path.relative_to(store.runs).parts
        return {"method": "", **dict(zip(("dataset", "ratio", "backbone", "method"), labels)), "id": name}

    try:
        cells = select(store.cells(), arguments.wanted, names)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    states = [(cell, cell.state()) for cell in cells]
    few_classes = 0
    for cell, state in states:
        name = cell.path.relative_to(store.runs)
        why = cell.error().splitlines()[0] if cell.error() else ""
        if state in ("failed", "damaged", "outdated"):
            print(f"{state:9s} {name}\n          {cell.damage() or why}")
            continue
        if arguments.all or state in ("running", "started"):
            print(f"{state:9s} {name}")
        record = cell.record() if state == "done" else None
        if record and why:
            print(f"kept      {name}\n          training it again failed: {why}")
        runs = record["runs"] if record else []
        if said := scoring.few_classes(record):
            few_classes += 1
            if arguments.all:
                print(f"note      {name}\n          {said}")
        for run in runs:
            if run["failure"]:
                print(f"diverged  {name} fold {run['fold']} repeat {run['repeat']}\n          {run['failure']}")
    count = Counter(state for _, state in states)
    summary = ", ".join(f"{n} {state}" for state, n in sorted(count.items())) or "no cells yet: run scripts/train.py"
    print(summary + (f"; few classes predicted in {few_classes} (--all lists them)" if few_classes else ""))
    return int(any(count[state] for state in ("failed", "damaged", "started")))


if __name__ == "__main__":
    interrupts.install()
    raise SystemExit(main())
