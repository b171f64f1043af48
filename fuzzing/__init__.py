"""Inputs nobody would think of, for the readers of strangers' bytes: `python -m fuzzing`."""
