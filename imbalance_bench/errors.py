"""The two exceptions that reach a user: each message says what is wrong, which value, which override to change."""


class BenchError(Exception):
    """Something a user can mend. Shown as one message without a traceback; the exit status is non-zero."""


class Declined(BenchError):
    """A method cannot do a cell (it is binary only, say). Tables print ``n/a`` with this reason."""
