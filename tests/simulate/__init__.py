"""A seeded simulator of jobs: the real coordinator, log, recovery, retention and savepoints, in a world that fails.

``python -m tests.simulate --seeds 0:2000`` runs seeds; the same seed gives the same trace.
"""
