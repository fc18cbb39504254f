"""Real servers for tests: plain scripts, usable without pytest and without this project's packages."""
