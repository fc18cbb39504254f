"""The cases, one module per group."""
