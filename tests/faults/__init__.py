"""Faults, counted: sweeps are killed, starved and damaged, and what they leave is compared with an undisturbed one."""
