"""Numbered migrations of the metadata store, forward only."""
