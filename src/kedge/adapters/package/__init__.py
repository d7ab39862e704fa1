"""Signed packages: a Python class with `load` and `predict`, or a pickle, from people whose keys are trusted."""
