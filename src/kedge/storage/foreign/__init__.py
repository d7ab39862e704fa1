"""What teams have from other tools: DVC's caches, git-lfs's objects."""
