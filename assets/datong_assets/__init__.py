"""Assets: the only room that knows Dagster."""
