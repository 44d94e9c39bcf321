"""Documents: where they lie, which of them are new and complete, and what is in them, from bytes to Arrow."""
