"""`python -m farm bench`: load on a farm, an Ollama or an OpenAI endpoint, and what it answered with.

Pure: plan, asking, said, reading, answer, arrivals, prompts, spread, figures, record, comparison, tables.
Shells: target, exchange, load, run, progress, files, plot. Edges: settings, cli.
"""
