"""Floor 3: SQL, files, buckets. Implements ports; decides nothing."""
