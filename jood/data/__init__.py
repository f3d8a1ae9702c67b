"""Data: sources of examples, batching pipelines, and benchmarks (ID + OOD sets)."""
