"""The pages that explore: ``outputs/report/index.html`` and, beside it, one for each cell, ``cells/<id>.html``.

Nothing is fetched when a page is looked at, not even a file beside it: each has its style, script and data within it,
so that it may be mailed, or opened from a disk. Therefore the tables are sorted, filtered and folded by 130 lines of
script of our own (``tables.js``), and the charts are SVG that Python writes (``charts.py``): DataTables, as the package
itables ships it, is 0.7 MB with jQuery, and a small chart library such as uPlot 50 kB, in each of some hundred pages of
which the rest is 100 to 200 kB. SVG in the page also prints, follows dark mode, and is there without a script.

A cell has a page of its own, not a part of the index: its predictions are within it, for the threshold to be moved.
"""
