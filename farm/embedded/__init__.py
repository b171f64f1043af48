"""The embedded backend: Ollama's API over an engine child, for machines without an Ollama.

Pure, bytes in and bytes out: `words`, `gojson`, `fields`, `durations`, `stamps`, `card`, `options`,
`schema`, `template`, `ask`, `pieces`, `native`, `openai`, `openai_voice`, `vectors`.
With I/O: `channel`, `runner`, `talk`, `embed`, `catalogue`, `app`.
"""
