"""The local services: storage, engine, PostgreSQL, Dagster and the sandbox plant, each a process of its own.

`stack` starts and stops them together; one module a service says how that service is run and when it is healthy.
Their state is `.datong/services.json`, their keys `.datong/keys.json`, their logs `.datong/logs/<name>.log`, their
data `.datong/<name>/`. All listen on 127.0.0.1 only. Run alone: `datong up`, `datong status`, `datong down`.
"""
