"""FiftyOne's settings files, read without importing FiftyOne: the command line answers at once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fiftyone_redis.errors import SettingsError


def fiftyone_config() -> dict[str, Any]:
    """Reads FiftyOne's config file, which need not exist.

    Raises:
        SettingsError: if it cannot be read, or is no JSON object
    """
    named = os.environ.get("FIFTYONE_CONFIG_PATH")
    return read_object(Path(named) if named else Path.home() / ".fiftyone" / "config.json")


def fiftyone_app_config() -> dict[str, Any]:
    """Reads the config file of FiftyOne's App, which need not exist.

    Raises:
        SettingsError: if it cannot be read, or is no JSON object
    """
    named = os.environ.get("FIFTYONE_APP_CONFIG_PATH")
    return read_object(Path(named) if named else Path.home() / ".fiftyone" / "app_config.json")


def read_object(path: Path) -> dict[str, Any]:
    """Reads a file that holds one JSON object; empty if there is no such file.

    Raises:
        SettingsError: if it cannot be read, or holds something else
    """
    # The file may hold passwords: no message repeats its text, and no chained error carries it.
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(
            f"Cannot read {path} ({error.strerror or error}); make it a readable file."
        ) from error
    except json.JSONDecodeError as error:
        raise SettingsError(
            f"{path} is not valid JSON (line {error.lineno}); correct it or move it away."
        ) from None
    except ValueError:
        raise SettingsError(
            f"{path} is not JSON text in UTF-8; correct it or move it away."
        ) from None
    if not isinstance(settings, dict):
        raise SettingsError(f"{path} must hold one JSON object; correct it or move it away.")
    return settings
