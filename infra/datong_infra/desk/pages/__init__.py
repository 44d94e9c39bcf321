"""The sections of the desk, in the order of the navigation."""

from __future__ import annotations

from datong_infra.desk import decided
from datong_infra.desk.frame import Page, Section
from datong_infra.desk.pages import (
    account,
    approvals,
    audit,
    codes,
    conservation,
    dictionary,
    flows,
    given_up,
    home,
    incidents,
    match,
    quality,
    quarantine,
    reconciliation,
    rows,
    sync,
)

_MODULES = (
    home,
    flows,
    rows,
    approvals,
    given_up,
    sync,
    incidents,
    audit,
    quarantine,
    codes,
    match,
    conservation,
    reconciliation,
    quality,
    dictionary,
)

SECTIONS: list[Section] = [module.SECTION for module in _MODULES if module.SECTION]
PAGES: list[Page] = [*account.PAGES, *decided.PAGES, *(one for module in _MODULES for one in module.PAGES)]
