"""The lineage room: the walk from one answer back to the source."""
