"""Records as numbers: read, checked for being comparable, and tested."""
