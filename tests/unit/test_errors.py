"""Every error is words for a person, whoever said them first."""

from datong_platform.errors import ServiceError


def test_a_tree_of_reasons_that_a_library_coloured_for_a_terminal_is_one_plain_line() -> None:
    said = "Generic S3 error\n      \x1b[31m\u21b3\x1b[0m error sending request\n       \x1b[31m\u21b3\x1b[0m refused"
    error = ServiceError("table bronze.erp__order", f"cannot be opened: {said}.", "run `datong up`.")
    assert str(error) == (
        "table bronze.erp__order: cannot be opened: Generic S3 error: error sending request: refused. "
        "Next step: run `datong up`."
    )


def test_lines_that_were_meant_stay_lines() -> None:
    assert ServiceError("dbt", "refuses it:\n  line 3", "mend it.").reason == "refuses it:\n  line 3"
