"""The databases that the SQL protocol reads, a module each: address, catalog, types, a stream of Arrow, errors."""
