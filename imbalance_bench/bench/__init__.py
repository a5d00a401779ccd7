"""Speed, as ratios side by side in one run: our engine against the loops that people write (``make bench``)."""
