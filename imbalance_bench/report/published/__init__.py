"""What the papers print, and how their rows are named."""
