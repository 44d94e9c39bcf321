"""Ingestion: protocols that read systems, and the write-back that returns decisions to them."""
