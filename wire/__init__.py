"""What relay and farm share: errors, limits, lines, headers, origins, redaction.

Floor 0 of the house: pure, standard library only, knows neither NKN nor Ollama.
"""
