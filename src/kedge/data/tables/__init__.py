"""Tables: versions as parts with rows left out; what a change writes, what differs, and rows erased for good."""
