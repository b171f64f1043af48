"""The embedded backend: Ollama's API over an engine child, for machines without an Ollama.

`words`, `gojson`, `fields`, `durations`, `card`, `options`, `schema`, `template`, `ask`, `pieces`, `native`,
`openai` and `vectors` are pure: JSON in, JSON out. `channel`, `runner`, `asgi`, `talk` and `app` do the I/O.
"""
