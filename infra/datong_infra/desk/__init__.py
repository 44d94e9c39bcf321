"""The desk: where stewards and operators look at the platform and decide, in a browser, in Chinese and English.

`datong up` starts it on 127.0.0.1; `datong user add NAME` lets a person in. Every page calls the same Python functions
as the command of its name, so a decision made here and one made on the command line are the same row.

`app` answers requests and guards them, `users` knows who may log in, `frame` is what all pages share, and each module
of `pages` is one section: `PAGES` there lists its addresses, `SECTION` its place in the navigation. To add a section,
write such a module and name it in `pages/__init__.py`. Run it alone: `python -m datong_infra.desk --port 8080`.
"""
