"""Telling people: what an alert says, and when."""
