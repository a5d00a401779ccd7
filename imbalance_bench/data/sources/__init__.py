"""Data sets, one file a kind of source. What lies in a folder already is read; what does not is downloaded."""
