"""The lake: landing zone, bronze loads with their watermarks, the catalog derived from storage, publishing."""
