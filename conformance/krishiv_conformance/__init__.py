"""Conformance suites for authors of sources, sinks and stores, and the command that certifies them."""
