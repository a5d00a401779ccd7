"""Experiments on learning from imbalanced classes: see README.md for the command line."""

__version__ = "0.1.0"
