"""Which system knows each field of an entity best, from `dbt_project/standard/authority.yaml` to a dbt macro."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from datong_platform import settings
from datong_platform.errors import ConfigurationError
from datong_platform.names import word

FILE = settings.DBT_PROJECT / "standard" / "authority.yaml"
MACRO = settings.DBT_PROJECT / "macros" / "standard" / "authority.sql"
OTHERS = "*"
"""Stands for the fields that an entity does not name."""

Authority = Mapping[str, Mapping[str, list[str]]]
"""For each entity, for each field, the systems from the one that knows it best."""


def load(path: Path = FILE) -> Authority:
    """The authority file. ConfigurationError for one that makes no sense."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"authority file {path.name}", f"is not YAML: {error}", f"mend {path}.") from error
    for entity, fields in content.items():
        if not isinstance(fields, dict) or OTHERS not in fields:
            raise ConfigurationError(
                f"authority file {path.name}, entity {entity}",
                f"does not say which systems know its other fields ({OTHERS!r}).",
                f'add `"{OTHERS}": [erp]` to it.',
            )
        for field, systems in fields.items():
            if not isinstance(systems, list) or not systems or len(set(systems)) != len(systems):
                raise ConfigurationError(
                    f"authority file {path.name}, {entity}.{field}",
                    "is not a list of systems, each once.",
                    "write it as [erp, crm].",
                )
            for system in systems:
                word(str(system), f"system of {entity}.{field}")
    return content


def compiled() -> dict[Path, str]:
    """The file made from the authority file."""
    entities = ",\n".join(
        f"        '{entity}': {json.dumps(fields, ensure_ascii=False)}" for entity, fields in load().items()
    )
    text = (
        "{# Made from standard/authority.yaml by `datong standard compile`. -#}\n\n"
        "{% macro authority(entity) -%}\n"
        "    {{ return({\n"
        f"{entities}\n"
        "    }[entity]) }}\n"
        "{%- endmacro %}\n"
    )
    return {MACRO: text}


if __name__ == "__main__":
    for file, content in compiled().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
