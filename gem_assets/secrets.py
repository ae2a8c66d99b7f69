"""Keys, tokens and database addresses: cleaned before use, and removed from everything printed or logged.

They come from the environment alone. A value that was pasted with a line end, or damaged, would otherwise reach a
library, which refuses it in a message that quotes it.
"""

import json
import logging
import os
import re
import traceback
from collections.abc import Iterator, MutableMapping
from typing import Any, Final
from urllib.parse import quote

HIDDEN: Final = "(hidden)"
USED: Final = (
    "GEM_NAMER_API_KEY", "DAGSTER_PG_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "HF_TOKEN", "OPENLINEAGE_API_KEY",
)  # fmt: skip
"""Variables that the platform, or a library that it calls, sends as they are."""
_NAME: Final = re.compile(
    r"(^|_)(API_?KEY|KEY|SECRET|TOKEN|(PG)?PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|PG_URL|DATABASE_URL|CONNECTION_STRING)(_|$)"
)
_NOT_SECRET: Final = re.compile(r"(^|_)(PATH|FILE|DIR|FOLDER|PARALLELISM|TYPE|LIMIT|ID)$")
_USER_INFO: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/@'\"]*:[^\s/'\"]*@")
_PASSWORD: Final = re.compile(r"://[^:/?#]*:(.*)@")
_SHORTEST: Final = 6
"""Shorter values are not looked for: they would take ordinary words apart."""


class SecretError(ValueError):
    """A secret cannot be used as it is; the message names the variable and never the value."""


def is_secret(variable: str) -> bool:
    """Tell whether an environment variable holds something that must not be shown."""
    name = variable.upper()
    return _NAME.search(name) is not None and _NOT_SECRET.search(name) is None


def clean_environment(environment: MutableMapping[str, str] | None = None) -> None:
    """Strip blanks and line ends off the secrets that are used, and check what is left.

    Raises SecretError when one holds a character that no header and no address can carry.
    """
    variables = os.environ if environment is None else environment
    for name in USED:
        if name in variables:
            variables[name] = check_secret(name, variables[name])


def check_secret(name: str, value: str) -> str:
    """Return a secret without blanks around it.

    Raises SecretError when it holds a control character, a blank or a letter that is not ASCII.
    """
    stripped = value.strip()
    wrong = next((at for at, letter in enumerate(stripped) if not "!" <= letter <= "~"), None)
    if wrong is not None:
        raise SecretError(
            f"{name} cannot be used: character {wrong + 1} of {len(stripped)} is a blank, a control character or not "
            "ASCII. Set it again; its value is not shown here"
        )
    return stripped


def redact(text: str) -> str:
    """Return a text without the secrets of the environment, however they are quoted, and without those in URLs."""
    for spelling in sorted(set(_spellings()), key=len, reverse=True):
        text = text.replace(spelling, HIDDEN)
    return _USER_INFO.sub(rf"\g<scheme>{HIDDEN}@", text)


def hide_in_logs() -> None:
    """Take secrets out of every log record of this process, tracebacks included."""
    make: Any = logging.getLogRecordFactory()
    if getattr(make, "hides_secrets", False):
        return

    def hiding(*values: Any, **options: Any) -> logging.LogRecord:
        record = make(*values, **options)
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # the handler says so, as always
            return record
        hidden = redact(message)
        if hidden != message:
            record.msg, record.args = hidden, ()
        if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
            record.exc_text = redact("".join(traceback.format_exception(*record.exc_info))).rstrip("\n")
        return record

    hiding.hides_secrets = True  # pyright: ignore[reportFunctionMemberAccess]
    logging.setLogRecordFactory(hiding)


def _spellings() -> Iterator[str]:
    for name, value in os.environ.items():
        if not is_secret(name):
            continue
        for form in (value, value.strip(), *_PASSWORD.findall(value)):
            if len(form) >= _SHORTEST:
                yield from (form, quote(form, safe=""), json.dumps(form)[1:-1], repr(form)[1:-1])
