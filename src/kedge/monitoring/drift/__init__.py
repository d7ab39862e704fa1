"""Drift: profiles, distances that are shown, and the e-detectors that alarm."""
