"""Numbers that the papers printed, and how their rows are named."""
