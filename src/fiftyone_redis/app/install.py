"""Installs the plugin in FiftyOne's plugins directory, and uninstalls it.

FiftyOne finds plugins as folders, not as installed packages. The folder has two small files: a
manifest, which must name every operator and panel, and a module that imports the plugin from this
package. This module never imports FiftyOne.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from fiftyone_redis import __version__
from fiftyone_redis.app import OPERATORS, PANELS
from fiftyone_redis.config_files import fiftyone_app_config, fiftyone_config
from fiftyone_redis.errors import SettingsError, list_first

NAME = "@fiftyone-redis/app"
"""The plugin's name in FiftyOne; an operator's URI is this, a slash and its own name."""

FOLDER = "fiftyone-redis"
"""The name of its folder in the plugins directory."""

_MANIFEST = "fiftyone.yml"
_MODULE = "__init__.py"
_CACHE = "__pycache__"
_OURS = f'name: "{NAME}"\n'
_STUB = '''"""Written by `fiftyone-redis app install`: it stands in for fiftyone_redis.app."""

from fiftyone_redis.app.plugin import register

__all__ = ["register"]
'''


@dataclass(frozen=True)
class Installed:
    """The plugin's folder.

    Attributes:
        folder: where it is
        fits: whether this version of the package wrote it
        enabled: whether FiftyOne loads it
    """

    folder: Path
    fits: bool
    enabled: bool


def locate() -> Path:
    """Returns FiftyOne's plugins directory, whether or not it exists.

    Returns:
        what ``fiftyone.config.plugins_dir`` would be in this environment

    Raises:
        SettingsError: FiftyOne's config file is not one, or cannot be read
    """
    config = fiftyone_config()
    plugins = os.environ.get("FIFTYONE_PLUGINS_DIR") or config.get("plugins_dir")
    if plugins:
        return Path(plugins)
    datasets = os.environ.get("FIFTYONE_DEFAULT_DATASET_DIR") or config.get("default_dataset_dir")
    return Path(datasets or "~/fiftyone").expanduser().absolute() / "__plugins__"


def install(plugins: Path | None = None) -> Path:
    """Installs the plugin in the plugins directory; replaces another version of it.

    Args:
        plugins: the plugins directory, by default that of :func:`locate`; created if it is missing

    Returns:
        the plugin's folder

    Raises:
        SettingsError: something else is in its place, or it cannot be written
    """
    folder = _folder(plugins)
    _read(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MODULE).write_text(_STUB, encoding="ascii")
        (folder / _MANIFEST).write_text(manifest(), encoding="ascii")
    except OSError as error:
        raise _failed(folder, "write", error) from error
    return folder


def uninstall(plugins: Path | None = None) -> bool:
    """Removes the plugin, and nothing else, from the plugins directory.

    Args:
        plugins: the plugins directory, by default that of :func:`locate`

    Returns:
        whether it was installed

    Raises:
        SettingsError: something else is in its place, other files are with it, or it cannot be
            removed
    """
    folder = _folder(plugins)
    if _read(folder) is None:
        return False
    others = sorted({path.name for path in folder.iterdir()} - {_MANIFEST, _MODULE, _CACHE})
    if others:
        raise SettingsError(
            f"{folder} holds files that fiftyone-redis did not put there ({list_first(others)}); "
            "move them away first."
        )
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise _failed(folder, "remove", error) from error
    return True


def status(plugins: Path | None = None) -> Installed | None:
    """Finds the plugin in the plugins directory.

    Args:
        plugins: the plugins directory, by default that of :func:`locate`

    Returns:
        the plugin's folder, or None if it is not there

    Raises:
        SettingsError: something else is in its place, it cannot be read, or FiftyOne's App config
            is not one
    """
    folder = _folder(plugins)
    found = _read(folder)
    if found is None:
        return None
    return Installed(folder, found == (manifest(), _STUB), _is_enabled())


def manifest() -> str:
    """Returns the text of the manifest, ``fiftyone.yml``.

    Returns:
        a YAML document
    """
    lines = [
        'description: "Similarity search on Redis: manage indexes, search with a picture"',
        f"version: {__version__}",
        f"operators: {json.dumps(OPERATORS)}",  # JSON is YAML
        f"panels: {json.dumps(PANELS)}",
    ]
    return _OURS + "\n".join(lines) + "\n"


def _folder(plugins: Path | None) -> Path:
    return (plugins or locate()) / FOLDER


def _read(folder: Path) -> tuple[str, str] | None:
    """Returns the manifest and the module in the plugin's folder, or None if there is no folder."""
    try:
        if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
            return None
        manifest, module = (
            path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            for path in (folder / _MANIFEST, folder / _MODULE)
        )
    except OSError as error:
        raise _failed(folder, "read", error) from error
    if folder.is_symlink() or not manifest.startswith(_OURS):
        raise SettingsError(
            f"{folder} was not made by `fiftyone-redis app install`; move it away first."
        )
    return manifest, module


def _is_enabled() -> bool:
    """Returns whether FiftyOne loads the plugin, which it does unless its App config forbids it."""
    listed = fiftyone_app_config().get("plugins")
    settings = listed.get(NAME) if isinstance(listed, dict) else None
    return not (isinstance(settings, dict) and settings.get("enabled") is False)


def _failed(path: Path, what: str, error: OSError) -> SettingsError:
    return SettingsError(
        f"Cannot {what} {path} ({error.strerror or error}); check the permissions of its folder."
    )
