"""The engine: tasks of chained operators over Arrow batches, with watermarks and barriers in-band."""
