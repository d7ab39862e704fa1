"""The security room: who may do what, and the audit chain."""
