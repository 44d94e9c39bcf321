"""XML documents from a folder, S3 or SFTP: orders and invoices in UBL, shop-floor messages in B2MML, an ERP's own.

Reads: documents whose names match an entity's pattern; each element at a path is a row. Attributes, namespaces and
elements around a row are fields; what repeats within a row is a nested column, or another entity's rows.
Pages: as the document streams by; memory holds one row and a page, whatever the size of the document.
Changes: each document once, by content, when complete (mode stream); or what lies there now (mode full).
Guards against: what documents/source.py and documents/markup.py name.
Alone: `python -m datong_ingestion SYSTEM`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from datong_platform.errors import ConfigurationError

from datong_ingestion.connections.xml import XmlConnection, XmlOptions
from datong_ingestion.documents.markup import Markup
from datong_ingestion.documents.rows import PROVENANCE
from datong_ingestion.documents.source import DocumentSource, Reader
from datong_ingestion.documents.taken import Taken
from datong_ingestion.source import Description, Page
from datong_ingestion.systems_config import EntityConfig


class Xml(DocumentSource[XmlConnection]):
    """A place with XML documents."""

    connection_type = XmlConnection
    provenance = PROVENANCE

    def own_fields(self, entity: EntityConfig, path: Path, name: str) -> list[pa.Field]:
        """Children and attributes of the first rows, as text; what repeats or is nested is JSON."""
        markup = Markup(_options(entity), self.connection.limits, None)
        return [pa.field(one, pa.string()) for one in markup.names(path)]

    def reader(self, entity: EntityConfig, description: Description, state: Taken) -> Reader:
        """What reads the documents of an entity."""
        return _Reader(Markup(_options(entity), self.connection.limits, description.schema))


class _Reader(Reader):
    def __init__(self, markup: Markup) -> None:
        self.markup = markup

    def pages(self, path: Path, name: str) -> Iterator[Page]:
        return self.markup.pages(path, name)


def _options(entity: EntityConfig) -> XmlOptions:
    if not isinstance(entity.options, XmlOptions):
        raise ConfigurationError(f"entity {entity.name}", "has no options of protocol xml.")
    return entity.options
