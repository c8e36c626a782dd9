"""The settings of an index. Each stands here once; whatever needs to know them reads this table.

That is the schema, the commands, what FT.INFO's reply is read for, the config of a brain run, what
a rebuild may change, the forms of the App, and the table in ``docs/guide.md``. A new setting is one
more field of :class:`IndexOptions`. No input or output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import Any

from fiftyone_redis.errors import SettingsError

METRICS = {"cosine": "COSINE", "dotproduct": "IP", "euclidean": "L2"}
"""FiftyOne's names of the metrics, and the query engine's."""

ALGORITHMS = ("FLAT", "HNSW", "SVS-VAMANA")
"""FLAT compares with every vector and is exact; the others walk a graph and are approximate."""

DTYPES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1}
"""The types in which a server can hold a vector's values, and their sizes in bytes."""

COMPRESSIONS = ("none", "LVQ8", "LVQ4", "LVQ4x4", "LVQ4x8", "LeanVec4x8", "LeanVec8x8")
"""How SVS-VAMANA can compress the vectors that it compares."""

_KEY = "option"


@dataclass(frozen=True)
class Option:
    """One setting of an index.

    Args:
        default: its default; its type is that of the values
        text: what it is, as the beginning of a sentence
        algorithm: the algorithm that has it; None for all
        least: the least whole number that it can be
        choices: the texts that it can be, and what the server calls them
        word: what FT.CREATE calls it among the attributes of a vector; None if it has a place of
            its own there
        told: what FT.INFO calls it there; None if servers do not tell it
        silent: the choice for which FT.CREATE has no word
        unknown: the choice that stands for what a server tells and we do not know
        per_query: whether a query says it too, by the same word: it is then a number of candidates
        rebuilds: whether a rebuild may change it
        name: its name, that of the field
    """

    default: str | int
    text: str
    algorithm: str | None = None
    least: int | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    word: str | None = None
    told: str | None = None
    silent: str | None = None
    unknown: str | None = None
    per_query: bool = False
    rebuilds: bool = True
    name: str = ""

    def is_of(self, algorithm: str) -> bool:
        """Returns whether indexes of an algorithm have it."""
        return self.algorithm in (None, algorithm)

    def check(self, value: Any) -> None:
        """Raises a :class:`SettingsError` unless it can have this value."""
        if self.choices:
            check_choice(self.name, value, tuple(self.choices))
        elif self.least is not None:
            check_at_least(self.name, value, self.least)

    def say(self, value: Any) -> list[str | int]:
        """Returns what FT.CREATE takes among the attributes of a vector; nothing for some."""
        if self.word is None or value == self.silent:
            return []
        return [self.word, self.choices.get(value, value)]

    def read(self, told: Any) -> Any:
        """Returns the value that FT.INFO tells; the server's word if there is no choice for it."""
        if not self.choices:
            return type(self.default)(told)
        if not told:
            return self.default
        names = {word: name for name, word in self.choices.items()}
        return names.get(str(told), self.unknown or told)


def _option(default: Any, text: str, **more: Any) -> Any:
    """Returns the field of a setting; see :class:`Option`."""
    return field(default=default, metadata={_KEY: Option(default, text, **more)})


@dataclass(frozen=True)
class IndexOptions:
    """The settings of an index, which are those of :data:`OPTIONS`.

    Raises:
        SettingsError: if a value is not one that its setting can have
    """

    metric: str = _option(
        "cosine",
        "how vectors are compared",
        choices=METRICS,
        word="DISTANCE_METRIC",
        told="distance_metric",
    )
    algorithm: str = _option(
        "FLAT",
        "how vectors are searched: FLAT compares with every one and is exact; HNSW and SVS-VAMANA "
        "(Redis 8.2 or newer) walk a graph and are approximate",
        choices={name: name for name in ALGORITHMS},
        told="algorithm",
    )
    dtype: str = _option(
        "float32",
        "the type of the values; int8 and uint8 need Redis 8 or newer, and embeddings that are "
        "whole numbers already",
        choices={name: name.upper() for name in DTYPES},
        word="TYPE",
        told="data_type",
    )
    _: KW_ONLY
    m: int = _option(
        32, "edges per vector and layer", algorithm="HNSW", least=2, word="M", told="M"
    )
    ef_construction: int = _option(
        200,
        "how many candidates are kept while a vector is inserted",
        algorithm="HNSW",
        least=1,
        word="EF_CONSTRUCTION",
        told="ef_construction",
    )
    ef_runtime: int = _option(
        400,
        "how many candidates are kept while a query is answered, or as many as it asks for",
        algorithm="HNSW",
        least=1,
        word="EF_RUNTIME",
        per_query=True,
    )
    # The server's own default, 1024, makes blocks of vectors whose sizes are powers of two just too
    # large for the allocator's size classes, and wastes a fifth of their memory.
    block_size: int = _option(
        1023,
        "how many vectors are allocated at a time",
        algorithm="FLAT",
        least=1,
        word="BLOCK_SIZE",
    )
    graph_max_degree: int = _option(
        32,
        "edges per vector",
        algorithm="SVS-VAMANA",
        least=1,
        word="GRAPH_MAX_DEGREE",
        told="graph_max_degree",
    )
    construction_window_size: int = _option(
        200,
        "how many candidates are kept while a vector is inserted",
        algorithm="SVS-VAMANA",
        least=1,
        word="CONSTRUCTION_WINDOW_SIZE",
        told="construction_window_size",
    )
    search_window_size: int = _option(
        10,
        "how many candidates are kept while a query is answered, or as many as it asks for",
        algorithm="SVS-VAMANA",
        least=1,
        word="SEARCH_WINDOW_SIZE",
        per_query=True,
    )
    # A server that has but one compression calls it by another name, whichever was asked for. It is
    # read as one of 8 bits, so that an index that is made again like this one is like it.
    compression: str = _option(
        "none",
        "how the vectors that are compared are compressed",
        algorithm="SVS-VAMANA",
        choices={name: name for name in COMPRESSIONS} | {"none": "NO_COMPRESSION"},
        word="COMPRESSION",
        told="compression",
        silent="none",
        unknown="LVQ8",
    )

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            option.check(getattr(self, name))


OPTIONS: Mapping[str, Option] = {
    each.name: replace(each.metadata[_KEY], name=each.name) for each in fields(IndexOptions)
}
"""The settings of an index, by their names."""

COMMON = ("metric", "algorithm", "dtype")
"""The settings that say what an index is; the others tune it."""

UNTOLD = tuple(name for name, option in OPTIONS.items() if option.told is None)
"""The settings that no server tells: whoever opens an index has to know them."""


def tuning(algorithm: str) -> list[Option]:
    """Returns the settings that tune an algorithm."""
    return [o for o in OPTIONS.values() if o.is_of(algorithm) and o.name not in COMMON]


def check_choice(setting: str, value: str, supported: tuple[str, ...]) -> None:
    """Raises a :class:`SettingsError` unless the value is one of the supported ones."""
    if value not in supported:
        raise SettingsError(f"Unsupported {setting} {value!r}; use one of {', '.join(supported)}.")


def check_at_least(setting: str, value: int, least: int) -> None:
    """Raises a :class:`SettingsError` unless the value is a whole number and enough."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingsError(f"{setting} must be a whole number of at least {least}, not {value!r}.")
