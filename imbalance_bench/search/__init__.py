"""Searching good options: studies of Optuna whose trials are ordinary cells (scripts/search.py)."""
