"""The kinds of sheets, each from records: tables, means, summaries, counts, examples, verdicts."""
