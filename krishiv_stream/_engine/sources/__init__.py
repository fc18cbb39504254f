"""The source side of the engine: which subtask reads which split, and the task that reads."""
