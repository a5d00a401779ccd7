"""Mutation check: does a changed operator, bound or sign fail a test? ``python -m tests.mutation``, `make mutation`."""
