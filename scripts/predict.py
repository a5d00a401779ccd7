"""Scores new rows by a saved model. `python scripts/predict.py RECORD_FOLDER new.csv --output scores.csv`"""

import sys

from imbalance_bench.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
