"""Upkeep: what stores hold is sent to buckets and fetched, mended, freed when nothing needs it, and erased for good."""
