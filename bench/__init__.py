"""How fast it is, beside one batch query over the same files: ``python -m bench``, or ``make bench``."""
