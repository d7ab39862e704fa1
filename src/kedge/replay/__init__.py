"""Floor 4: plays a project's time-ordered source as if it were live, and compares policies on it."""
