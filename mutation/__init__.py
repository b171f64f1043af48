"""Whether the tests of floors 0 to 2 notice a change to what they test: `python -m mutation`."""
