"""`python -m relay service`: the relay under systemd, started at boot or login and again when it ends.

`unit` says what stands in the unit file, `choice` who runs it and where it lies; both are pure. `installing`
writes and calls systemctl, `cli` reads the flags.
"""
