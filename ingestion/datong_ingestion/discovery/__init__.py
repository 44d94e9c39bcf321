"""Getting to know a source before it is loaded: look at rows, profile an entity, propose a definition.

Everything here works through the source contract alone, so that it holds for every protocol, and writes nothing to the
lake.
"""
