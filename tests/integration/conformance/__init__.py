"""The conformance suite on connectors that need a real server."""
