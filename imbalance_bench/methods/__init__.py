"""One file a method; ``base.py`` is the contract. A file here and one in conf/method/ is all that a method needs."""
