"""Secrets, and the login that redis-py takes them from: nothing shows, pickles or logs them."""

from __future__ import annotations

from typing import Any, cast

from redis.credentials import CredentialProvider

MASK = "***"
"""Stands for a secret wherever it would be shown."""


class Secret:
    """A text that is, or contains, a secret.

    Only :func:`reveal` returns it. Copies in this process keep it, since they are needed to connect
    again; a pickle contains what may be shown, and None if that is nothing.

    Args:
        text: the secret
        shown: what may be shown of it, with :data:`MASK` for the rest
    """

    __slots__ = ("_shown", "_text")

    def __init__(self, text: str, shown: str = MASK) -> None:
        self._text = text
        self._shown = shown

    def __repr__(self) -> str:
        return self._shown

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret | str) and reveal(other) == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: Any) -> Secret:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._shown.replace(MASK, ""),)


def reveal(value: Secret | str | None) -> str | None:
    """Returns the text of a secret; other values as they are."""
    return value._text if isinstance(value, Secret) else value


class Login(CredentialProvider):
    """Hands a login to redis-py, whose clients then hold no password of their own.

    Args:
        username: the user to log in as; None for the default one
        password: that user's password
    """

    def __init__(self, username: str | None, password: Secret | str | None) -> None:
        self.username = username
        self._password = Secret(password) if isinstance(password, str) else password

    @property
    def has_password(self) -> bool:
        """Whether there is a password."""
        return bool(reveal(self._password))

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Returns the username, if any, and the password."""
        password = reveal(self._password) or ""
        return (self.username, password) if self.username else (password,)

    def __repr__(self) -> str:
        return f"Login({self.username!r})"


def hide_secrets(options: dict[str, Any]) -> dict[str, Any]:
    """Returns redis-py's connection options with a login and a callable in place of secrets.

    Args:
        options: the options; ``username``, ``password`` and ``ssl_password`` are replaced
    """
    username, password = options.get("username"), options.get("password")
    hidden = {k: v for k, v in options.items() if k not in ("username", "password")}
    if username or password:
        hidden["credential_provider"] = Login(username, password)
    if isinstance(hidden.get("ssl_password"), str):
        hidden["ssl_password"] = KeyPassword(hidden["ssl_password"])
    return hidden


class KeyPassword:
    """The password of a TLS key, as the callable that :mod:`ssl` asks for it.

    Args:
        password: the password
    """

    def __init__(self, password: str) -> None:
        self._password = Secret(password)

    def __call__(self) -> str:
        """Returns the password."""
        return cast("str", reveal(self._password))

    def __repr__(self) -> str:
        return MASK


def _restore(shown: str) -> Secret | None:
    return Secret(shown, shown) if shown else None
