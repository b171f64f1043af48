"""Ollama's ways on paper: JSON as Go reads and writes it, durations, the shapes of errors.

Shared by the front and by the embedded backend; knows neither.
"""
