"""Pandera: a schema of it is accepted as expectations, as it is. Imported only for such a schema."""
