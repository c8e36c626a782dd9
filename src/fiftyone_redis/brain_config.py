"""The file that makes FiftyOne use this package for ``backend="redis"``, in every process.

FiftyOne reads ``brain_config.json`` when it is imported. This module changes the one setting in
that file that names the class behind ``backend="redis"``, and never imports FiftyOne itself.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from fiftyone_redis import CONFIG_CLS
from fiftyone_redis.config_files import read_object
from fiftyone_redis.errors import SettingsError


def locate() -> Path:
    """Returns the path of FiftyOne's brain config, whether or not that file exists.

    Returns:
        the value of ``FIFTYONE_BRAIN_CONFIG_PATH``, else ``~/.fiftyone/brain_config.json``
    """
    path = os.environ.get("FIFTYONE_BRAIN_CONFIG_PATH")
    return Path.home() / ".fiftyone" / "brain_config.json" if path is None else Path(path)


def enable(path: Path | None = None) -> bool:
    """Makes ``backend="redis"`` use this package, and keeps every other setting.

    Args:
        path: the file to change, by default that of :func:`locate`; made when it is missing

    Returns:
        whether the file was changed; False when it said so already

    Raises:
        SettingsError: the file is not a brain config, or cannot be read or written
    """
    path = path or locate()
    settings = read_object(path)
    redis = _member(_member(settings, "similarity_backends", path), "redis", path)
    if redis.get("config_cls") == CONFIG_CLS:
        return False
    redis["config_cls"] = CONFIG_CLS
    _write(path, settings)
    return True


def disable(path: Path | None = None) -> bool:
    """Gives ``backend="redis"`` back to FiftyOne, and keeps every other setting.

    A class that is not of this package stays. Objects that become empty are taken out too.

    Args:
        path: the file to change, by default that of :func:`locate`

    Returns:
        whether the file was changed; False when this package was not enabled in it

    Raises:
        SettingsError: the file is not a brain config, or cannot be read or written
    """
    path = path or locate()
    settings = read_object(path)
    backends = _member(settings, "similarity_backends", path)
    redis = _member(backends, "redis", path)
    if redis.get("config_cls") != CONFIG_CLS:
        return False
    del redis["config_cls"]
    if not redis:
        del backends["redis"]
    if not backends:
        del settings["similarity_backends"]
    _write(path, settings)
    return True


def redis_settings(path: Path | None = None) -> dict[str, Any]:
    """Returns what the file says of the redis backend; it may hold secrets.

    Args:
        path: the file to read, by default that of :func:`locate`

    Raises:
        SettingsError: if the file is not a brain config, or cannot be read
    """
    path = path or locate()
    return _member(_member(read_object(path), "similarity_backends", path), "redis", path)


def is_enabled(path: Path | None = None) -> bool:
    """Tells whether the file makes ``backend="redis"`` use this package.

    Args:
        path: the file to read, by default that of :func:`locate`

    Returns:
        True or False; False when there is no such file

    Raises:
        SettingsError: the file is not a brain config, or cannot be read
    """
    return bool(redis_settings(path).get("config_cls") == CONFIG_CLS)


def _member(parent: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    """Returns the object of that name in its parent, putting an empty one there if missing."""
    member = parent.setdefault(name, {})
    if not isinstance(member, dict):
        raise SettingsError(f'"{name}" in {path} must be a JSON object; correct the file first.')
    return member


def _write(path: Path, settings: dict[str, Any]) -> None:
    # Escaped to ASCII, because FiftyOne reads the file in whatever encoding the locale has.
    text = json.dumps(settings, indent=4) + "\n"
    target = path.resolve()  # a symbolic link stays, what it points to is replaced
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, text)
    except OSError as error:
        raise SettingsError(
            f"Cannot write {path} ({error.strerror or error}), so it is unchanged; check the "
            "permissions of its folder."
        ) from error


def _replace(target: Path, text: str) -> None:
    """Puts the text in the target's place in one step: all of it, or none."""
    # mkstemp makes it readable by its owner only, as a new file that may come to hold passwords
    # should be.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            if target.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
