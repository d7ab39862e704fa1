"""Files: a file or folder of the workspace becomes a version, and comes back; other tools' data in, and out again."""
