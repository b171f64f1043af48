"""Python imports this at the start of every program that a test starts: see watching.py beside it."""

import sys

import watching

watching.install(watching.Watch(watching.folder()), sys)
