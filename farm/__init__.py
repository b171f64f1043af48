"""The farm: one warm, parallel Ollama behind one proxy."""
