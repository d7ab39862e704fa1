"""Delta Lake, as a source that is pinned: the tables stay where they are, in their own format."""
