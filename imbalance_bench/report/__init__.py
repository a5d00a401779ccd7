"""Records → tables, statistics, figures, pages. Nothing here trains or imports torch."""
