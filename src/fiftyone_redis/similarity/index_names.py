"""The names of indexes that users did not choose: unique, and telling the dataset and the run.

Such a name is ``fiftyone-<dataset>-<key>-<16 digits>``. The first ten digits are a hash of this
FiftyOne database, the dataset's name and the key, so an index that such a run left behind is known
by its name. The others are random, so two runs never choose the same name.
"""

from __future__ import annotations

import hashlib
import re
import secrets

import fiftyone.core.odm as foo

_LONGEST = 60  # characters of a dataset's name or key


def choose_name(dataset_name: str, key: str | None) -> str:
    """Returns a new name that no other run has, of this database or of another one.

    Args:
        dataset_name: the name of the dataset
        key: the brain key; None for a run that is not saved
    """
    return _prefix(dataset_name, key) + secrets.token_hex(3)


def match_names(dataset_name: str, key: str | None) -> re.Pattern[str]:
    """Returns the pattern of all names that runs of a key of a dataset were given here."""
    return re.compile(re.escape(_prefix(dataset_name, key)) + "[0-9a-f]{6}")


def _prefix(dataset_name: str, key: str | None) -> str:
    folded = [_fold(text) for text in (dataset_name, key or "") if _fold(text)]
    return "-".join(["fiftyone", *folded, _hash_run(dataset_name, key)])


def _fold(text: str) -> str:
    """Returns the ASCII letters and digits of a text, with hyphens between them."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:_LONGEST].strip("-")


def _hash_run(dataset_name: str, key: str | None) -> str:
    """Returns ten digits that stand for a run's database, dataset and key."""
    database = _find_database_id()
    if key is None or database is None:
        return secrets.token_hex(5)
    return hashlib.sha256("\0".join([database, dataset_name, key]).encode()).hexdigest()[:10]


def _find_database_id() -> str | None:
    """Returns what tells this FiftyOne database from others, restored copies of it included."""
    database = foo.get_db_conn()
    # MongoDB gives every collection an id, and a new one when it is restored from a dump.
    for collection in database.list_collections(filter={"name": "datasets"}):
        uuid = collection.get("info", {}).get("uuid")
        return None if uuid is None else f"{database.name} {bytes(uuid).hex()}"
    return None
