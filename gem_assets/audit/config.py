"""What only a person can state: who provides the model, by what right texts are used, how rights and harm are handled.

Each statement has a key. Its text comes from ``[audit.statements]`` of the settings; until then every form carries a
mark in its place that cannot be mistaken for an answer.
"""

from importlib.util import find_spec
from typing import Final

from pydantic import Field, field_validator

from gem_assets.frozen import Frozen

CODE_VERSION = "4"

STATEMENTS: Final[dict[str, str]] = {
    "provider": "name, address and contact of the provider, and of an authorised representative if there is one",
    "model": "the models trained on this mixture, with version and date of placement on the market",
    "acquisition": "how and by which crawlers the files were acquired, their operator, purpose and behaviour",
    "legal_basis": "by what right each source is used: licence agreements, exceptions relied on",
    "rights_reservation": "how reservations of rights (robots.txt, TDM opt-outs and others) were found and respected",
    "illegal_content": "what was done to avoid or remove illegal content",
    "personal_data": "whether personal or sensitive data may be in it, and how it is treated",
    "synthetic_data": "whether text was made by models, by which, and for what",
    "user_data": "whether data of users of the provider's services is in it, and from which",
    "intended_use": "what the mixture is meant for and what it must not be used for",
    "biases": "known biases of the sources, and what they mean for the use intended",
    "maintenance": "who maintains the mixture, how it is updated and how to reach them",
}
"""Key to what has to be stated."""


class AuditConfig(Frozen):
    """Settings of the audit pack.

    ``statements`` maps a key of ``STATEMENTS`` to the text that the provider is responsible for.
    """

    statements: dict[str, str] = Field(default_factory=dict, description="What only a person can state, by key.")

    @field_validator("statements")
    @classmethod
    def _known(cls, value: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(value) - set(STATEMENTS))
        if unknown:
            raise ValueError(f"unknown statements {unknown}; known are {', '.join(STATEMENTS)}")
        return {key: text.strip() for key, text in sorted(value.items()) if text.strip()}

    def text(self, key: str) -> str:
        """Return the statement, or the mark that stands for it."""
        return self.statements.get(key) or f"[A PERSON MUST STATE: {STATEMENTS[key]}]"

    @property
    def missing(self) -> list[str]:
        """Keys that no one has stated yet."""
        return [key for key in STATEMENTS if key not in self.statements]


def openlineage_available() -> bool:
    """Tell whether ``openlineage-python`` is installed."""
    return find_spec("openlineage") is not None
