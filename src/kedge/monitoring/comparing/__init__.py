"""Any frame against any frame: distances and tests by name, all columns together, and profiles that add up."""
