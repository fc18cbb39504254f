"""The operators that tasks are made of."""
