"""The dbt project seen from Dagster.

`graph` reads what dbt parsed, `worker` is the process that parses and builds, `client` starts and talks to it, `facts`
derives every asset's key, group, owner and so on. Nothing but the worker imports dbt: that costs 3 seconds, which no
start of the webserver, of a schedule or of a command should pay.
"""
