"""Data as it lies in a project's folder: looked at, remembered, pointed to."""
