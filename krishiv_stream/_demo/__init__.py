"""The demo: the main job, killed again and again, its output compared with one batch query."""

from krishiv_stream._demo._command import run_demo

__all__ = ["run_demo"]
