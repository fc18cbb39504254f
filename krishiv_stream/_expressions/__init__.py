"""Expressions: DataFusion's own, checked against a schema when written, compiled once when run."""
