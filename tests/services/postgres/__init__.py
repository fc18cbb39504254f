"""A real PostgreSQL on this machine."""
