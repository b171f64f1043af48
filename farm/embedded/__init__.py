"""The embedded backend: Ollama's API over an engine child, for machines without an Ollama.

Pure, bytes in and bytes out:
    JSON and base64 as Go has them `gojson`, `gosyntax`, `gobytes`; bodies as Go structs `fields`, `structs`;
    requests `ask`, `openai`, `responses`, `messages`, `vectors`; what they hold `options`, `schema`,
    `template`, `durations`; the model `card`, `gguf`; answers `pieces`, `native`, `openai_voice`,
    `responses_voice`, `messages_voice`, `words`, `stamps`; what comes before a route `doors`.
With I/O: `channel`, `runner`, `talk`, `embed`, `catalogue`, `app`.
"""
