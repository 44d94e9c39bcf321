"""Backups: a moment of the whole lake and its databases, kept elsewhere, and brought back verified."""
