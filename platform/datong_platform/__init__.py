"""The platform: settings, errors, table names, the engine's client, the lake."""
