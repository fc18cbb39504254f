"""A window larger than the memory budget is kept on disk, written to checkpoints from there, and fires right."""

from __future__ import annotations

import json
import subprocess
import sys

BUDGET = 16 << 20
ROWS = 16_000_000
BYTES = ROWS * 16
"""Of the rows that the window keeps: a key and a value each."""


def test_a_window_many_times_the_budget_fires_with_bounded_memory_through_checkpoints(tmp_path):
    command = [sys.executable, "-m", "tests.integration.large_window", str(tmp_path), str(ROWS), f"{BUDGET}B"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["n"], found["total"], found["groups"]) == (ROWS, ROWS * (ROWS - 1) // 2, 1_000)
    assert found["epochs"] >= 2
    assert found["disk"] > BUDGET  # compressed
    # What a checkpoint writes is read block by block: it costs nothing beyond the budget and the rows in flight.
    assert found["memory"] < BYTES * 2 // 5
