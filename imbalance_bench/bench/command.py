"""The whole command: scripts/train.py with 40 runs, against a script that trains as many one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from imbalance_bench.bench.compare import compare, counted, show

RUNS = 40
ROOT = Path(__file__).parents[2]

# The same data, splits of as many rows, network, batches, epochs and optimiser; scores of the test part, once a run.
LOOP = """
import sys
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
x, y = load_breast_cancer(return_X_y=True)
y = 1 - y
for seed in range(int(sys.argv[1])):
    torch.manual_seed(seed)
    fitted, test, of_fitted, of_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=seed)
    train, _, of_train, _ = train_test_split(fitted, of_fitted, test_size=0.2, stratify=of_fitted, random_state=seed)
    scaler = StandardScaler().fit(train)
    data = TensorDataset(torch.tensor(scaler.transform(train)).float(), torch.tensor(of_train).float())
    net = nn.Sequential(nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
    objective, optimiser = nn.BCEWithLogitsLoss(), torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999))
    for _ in range(int(sys.argv[2])):
        for rows, labels in DataLoader(data, 128, shuffle=True):
            optimiser.zero_grad()
            loss = objective(net(rows), labels)
            loss.backward()
            optimiser.step()
            loss.item()
    with torch.no_grad():
        average_precision_score(of_test, net(torch.tensor(scaler.transform(test)).float()).numpy())
"""


def called(*arguments: str) -> None:
    """A Python process with these arguments, as from a terminal."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)


def speeds(runs: int, epochs: int, rounds: int) -> dict[str, float]:
    """Runs a second, from the start of the process to its end."""
    with tempfile.TemporaryDirectory() as outputs:
        overrides = [f"protocol.repeats={runs}", f"trainer.epochs={epochs}", f"paths.outputs={outputs}"]
        train = [str(ROOT / "scripts" / "train.py"), "cache=overwrite", "protocol=repeated_holdout", *overrides]
        rivals = {
            "a script of DataLoader loops": counted(partial(called, "-c", LOOP, str(runs), str(epochs)), runs),
            "scripts/train.py": counted(partial(called, *train), runs),
        }
        return compare(rivals, rounds)


def main(rounds: int) -> None:
    """Prints the comparison."""
    show(f"The whole command, {RUNS} runs: runs a second", {"breast_cancer": speeds(RUNS, 200, rounds)})
