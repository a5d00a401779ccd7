"""Data sets, one file a kind of source. Files that are there are read; missing ones are downloaded."""
