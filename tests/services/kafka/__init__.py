"""A real Apache Kafka broker on this machine, for as long as a test needs it."""
