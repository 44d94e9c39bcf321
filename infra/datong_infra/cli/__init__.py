"""The `datong` command: one thin layer over the services, the sandbox and the runs.

`app` declares the commands; what takes long to load is imported by the command that needs it, so that `--help` is
immediate. Errors are printed as thing, reason and next step; the exit status is 0 when all held, 1 when something
failed, 2 for a wrong call.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the `datong` command."""
    import errno
    import sys

    from datong_platform.errors import DatongError, ServiceError
    from datong_platform.settings import home

    from datong_infra.cli.app import app
    from datong_infra.cli.output import print_error

    try:
        app(prog_name="datong")
    except DatongError as error:
        print_error(error)
        sys.exit(1)
    except BrokenPipeError:
        # the reader of a pipe (head, less) left: nothing more to say
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        place = f"the disk of {error.filename or home()}"
        print_error(ServiceError(place, "is full.", "make room on it, then `datong up`, and run this again."))
        sys.exit(1)
