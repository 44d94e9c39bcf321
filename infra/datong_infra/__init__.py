"""Infra: the command line, the local services and the sandbox plant."""
