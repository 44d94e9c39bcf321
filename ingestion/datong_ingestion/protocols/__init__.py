"""Protocols: one module each, from a system's own words to Arrow pages (`datong_ingestion.source`)."""
