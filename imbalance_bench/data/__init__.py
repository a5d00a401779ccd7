"""Data sets, induced imbalance, splits: everything up to the tasks that methods see."""
