"""How fast it is, next to its peers: ``make bench``, or ``python -m bench --list``."""
