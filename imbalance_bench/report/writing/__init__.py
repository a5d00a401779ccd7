"""Sheets and drawings as files: Markdown, CSV, LaTeX, and a page of HTML."""
