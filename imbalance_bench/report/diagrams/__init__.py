"""Diagrams of the papers, with no run behind them."""
