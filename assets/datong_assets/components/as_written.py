"""Components whose attributes are a pydantic model of another layer, which reads and checks the `defs.yaml` itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, create_model, model_validator


def as_written(model: type[BaseModel]) -> type[BaseModel]:
    """A twin of `model` with its fields, for editors and `dg check yaml`, that takes any content when it is loaded.

    The model's own reader says what is wrong, with file and line, and knows more than pydantic does at this place.
    """

    class Unchecked(BaseModel):
        model_config = ConfigDict(extra="allow")

        @model_validator(mode="wrap")
        @classmethod
        def _take(cls, data: Any, _handler: Any) -> Any:
            return cls.model_construct(**data) if isinstance(data, dict) else cls.model_construct()

    # the JSON schema is the model's; only the validation is left out
    twin = create_model(model.__name__, __base__=(Unchecked, model), __doc__=model.__doc__)
    twin.model_config = {**model.model_config, "extra": "forbid"}
    return twin
