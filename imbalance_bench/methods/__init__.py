"""One file a method, or a package where it is larger; ``base.py`` is the contract, ``shared/`` what several use. A
file here and one in conf/method/ is all that a method needs."""
