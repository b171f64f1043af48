"""`python -m farm doctor`: what is wrong on this machine, and what to do about it.

`survey` looks (by `machinery`, `grounds`, `processes`, `answers`), each within its time. What they saw is
data; pure modules turn it into findings (`examination` has them all), `paper` writes them down.
"""
