"""An NKN client for Python; usable alone."""
