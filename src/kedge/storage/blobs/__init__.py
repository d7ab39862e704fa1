"""Content-addressed bytes in packs of chunks."""
