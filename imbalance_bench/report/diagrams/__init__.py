"""What papers draw without a run behind it."""
