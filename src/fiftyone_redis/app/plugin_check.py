"""Checks the App plugin: what `doctor` and `app status` say of it. Never imports FiftyOne."""

from __future__ import annotations

from fiftyone_redis import __version__
from fiftyone_redis.app.install import NAME, status
from fiftyone_redis.doctor.findings import NOTE, OK, WARNING, Finding
from fiftyone_redis.errors import SettingsError


def check_plugin() -> Finding:
    """Checks whether the plugin is installed, of this version, and enabled."""
    try:
        found = status()
    except SettingsError as error:
        return Finding("app", WARNING, str(error))
    if found is None:
        text = "The plugin for the FiftyOne App is not installed; nothing else needs it."
        return Finding("app", NOTE, text, "fiftyone-redis app install")
    if not found.fits:
        text = f"The App plugin in {found.folder} does not fit version {__version__}."
        return Finding("app", WARNING, text, "fiftyone-redis app install")
    if not found.enabled:
        text = f"The App plugin in {found.folder} is disabled."
        return Finding("app", WARNING, text, f"fiftyone plugins enable {NAME}")
    return Finding("app", OK, f"The App plugin is installed in {found.folder}.")
