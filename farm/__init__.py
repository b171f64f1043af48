"""The farm: one warm, parallel backend that speaks Ollama's API, behind one proxy.

Imports `wire`, never `relay`; the relay reaches it only over HTTP.
"""
