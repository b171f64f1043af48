"""`python -m relay doctor`: why this relay cannot serve, and what to do about it.

`looking` looks, everything side by side and within seconds. What it saw is data; pure modules turn it into
findings (`examination` has them all), `paper` writes them down.
"""
