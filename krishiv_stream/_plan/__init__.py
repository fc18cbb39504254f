"""The logical plan: immutable nodes, and the fluent API that makes them."""
