"""krishiv-stream: stream processing in which a delivery guarantee is a proof, not a label."""
