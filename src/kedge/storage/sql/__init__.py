"""All SQL: one module per aggregate."""
