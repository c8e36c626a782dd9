"""The settings of an index, each defined once. No input or output.

The schema, the FT.CREATE and FT.SEARCH commands, the parser of FT.INFO, the config of a brain run,
``rebuild()``, the App's forms and the table in ``docs/settings.md`` all read them from here. To add
a setting, add a field to :class:`IndexOptions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from numbers import Integral
from typing import Any

from fiftyone_redis.errors import SettingsError

METRICS = {"cosine": "COSINE", "dotproduct": "IP", "euclidean": "L2"}
"""FiftyOne's names of the metrics, mapped to the query engine's."""

ALGORITHMS = ("FLAT", "HNSW", "SVS-VAMANA")
"""FLAT compares with every vector and is exact; the others walk a graph and are approximate."""

DTYPES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1}
"""The types of vector values that the server supports, and their sizes in bytes."""

COMPRESSIONS = ("none", "LVQ8", "LVQ4", "LVQ4x4", "LVQ4x8", "LeanVec4x8", "LeanVec8x8")
"""The vector compressions of SVS-VAMANA."""

_KEY = "option"


@dataclass(frozen=True)
class Option:
    """One setting of an index.

    Args:
        default: the default value; all values have its type
        text: its description, a phrase in lower case
        algorithm: the algorithm that it belongs to; None for all
        minimum: the smallest value of a whole number
        choices: the supported values of a text, mapped to the server's names of them
        argument: its name among the vector arguments of FT.CREATE; None if it has no name there
        info_name: its name in the reply to FT.INFO; None if FT.INFO does not report it
        omitted: the choice for which FT.CREATE takes no argument
        fallback: the choice for a value in FT.INFO that is not among the choices
        per_query: whether queries pass it too, under the same name; it is a number of candidates
        can_rebuild: whether a rebuild may change it
        name: the name of its field
    """

    default: str | int
    text: str
    algorithm: str | None = None
    minimum: int | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    argument: str | None = None
    info_name: str | None = None
    omitted: str | None = None
    fallback: str | None = None
    per_query: bool = False
    can_rebuild: bool = True
    name: str = ""

    def is_of(self, algorithm: str) -> bool:
        """Returns whether it applies to an algorithm."""
        return self.algorithm in (None, algorithm)

    def normalize(self, value: Any) -> Any:
        """Returns a choice as spelt here, numpy's whole numbers as Python's, others as they are."""
        if isinstance(value, bool):
            return value
        return int(value) if isinstance(value, Integral) else match_choice(value, self.choices)

    def check(self, value: Any) -> None:
        """Raises a :class:`SettingsError` unless the value is supported."""
        if self.choices:
            check_choice(self.name, value, tuple(self.choices))
        elif self.minimum is not None:
            check_at_least(self.name, value, self.minimum)

    def arguments(self, value: Any) -> list[str | int]:
        """Returns its vector arguments of FT.CREATE; an empty list if there are none."""
        if self.argument is None or value == self.omitted:
            return []
        return [self.argument, self.choices.get(value, value)]

    def read(self, reported: Any) -> Any:
        """Converts a value of FT.INFO; an unknown choice becomes the fallback or stays as it is."""
        if not self.choices:
            return type(self.default)(reported)
        if not reported:
            return self.default
        names = {server_name: name for name, server_name in self.choices.items()}
        return names.get(str(reported), self.fallback or reported)


def _option(default: Any, text: str, **more: Any) -> Any:
    """Returns the dataclass field of a setting; see :class:`Option`."""
    return field(default=default, metadata={_KEY: Option(default, text, **more)})


@dataclass(frozen=True)
class IndexOptions:
    """The settings of an index; :data:`OPTIONS` describes them.

    Raises:
        SettingsError: if a value is not supported
    """

    metric: str = _option(
        "cosine",
        "how vectors are compared",
        choices=METRICS,
        argument="DISTANCE_METRIC",
        info_name="distance_metric",
    )
    algorithm: str = _option(
        "FLAT",
        "how vectors are searched: FLAT compares with every one and is exact; HNSW and SVS-VAMANA "
        "(Redis 8.2 or newer) walk a graph and are approximate",
        choices={name: name for name in ALGORITHMS},
        info_name="algorithm",
    )
    dtype: str = _option(
        "float32",
        "the type of the values; int8 and uint8 need Redis 8 or newer, and embeddings that are "
        "whole numbers already",
        choices={name: name.upper() for name in DTYPES},
        argument="TYPE",
        info_name="data_type",
    )
    _: KW_ONLY
    m: int = _option(
        32, "edges per vector and layer", algorithm="HNSW", minimum=2, argument="M", info_name="M"
    )
    ef_construction: int = _option(
        200,
        "how many candidates are kept while a vector is inserted",
        algorithm="HNSW",
        minimum=1,
        argument="EF_CONSTRUCTION",
        info_name="ef_construction",
    )
    ef_runtime: int = _option(
        400,
        "how many candidates are kept while a query is answered, or as many as it asks for",
        algorithm="HNSW",
        minimum=1,
        argument="EF_RUNTIME",
        per_query=True,
    )
    # The server's default is 1024. If the size of a vector is a power of two, such a block just
    # exceeds an allocator size class, which wastes a fifth of the memory.
    block_size: int = _option(
        1023,
        "how many vectors are allocated at a time",
        algorithm="FLAT",
        minimum=1,
        argument="BLOCK_SIZE",
    )
    graph_max_degree: int = _option(
        32,
        "edges per vector",
        algorithm="SVS-VAMANA",
        minimum=1,
        argument="GRAPH_MAX_DEGREE",
        info_name="graph_max_degree",
    )
    construction_window_size: int = _option(
        200,
        "how many candidates are kept while a vector is inserted",
        algorithm="SVS-VAMANA",
        minimum=1,
        argument="CONSTRUCTION_WINDOW_SIZE",
        info_name="construction_window_size",
    )
    search_window_size: int = _option(
        10,
        "how many candidates are kept while a query is answered, or as many as it asks for",
        algorithm="SVS-VAMANA",
        minimum=1,
        argument="SEARCH_WINDOW_SIZE",
        per_query=True,
    )
    # A server with only one compression reports it under another name. Reading that as an 8-bit
    # compression makes a rebuilt index the same as this one.
    compression: str = _option(
        "none",
        "how the vectors that are compared are compressed",
        algorithm="SVS-VAMANA",
        choices={name: name for name in COMPRESSIONS} | {"none": "NO_COMPRESSION"},
        argument="COMPRESSION",
        info_name="compression",
        omitted="none",
        fallback="LVQ8",
    )

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            object.__setattr__(self, name, option.normalize(getattr(self, name)))
            option.check(getattr(self, name))


OPTIONS: Mapping[str, Option] = {
    each.name: replace(each.metadata[_KEY], name=each.name) for each in fields(IndexOptions)
}
"""The settings of an index, by their names."""

COMMON = ("metric", "algorithm", "dtype")
"""The settings of every index; the others tune one algorithm."""

UNREPORTED = tuple(name for name, option in OPTIONS.items() if option.info_name is None)
"""The settings that FT.INFO does not report, so that whoever opens an index must supply them."""


def tuning_options(algorithm: str) -> list[Option]:
    """Returns the settings of one algorithm."""
    return [o for o in OPTIONS.values() if o.is_of(algorithm) and o.name not in COMMON]


def match_choice(value: Any, choices: Mapping[str, str]) -> Any:
    """Returns the choice that a value means in any case, such as FLAT for ``"flat"``.

    Args:
        value: the value; it is returned as it is if it means none
        choices: the choices, mapped to the server's names of them, which mean the same
    """
    names = {_fold(name): choice for choice, known in choices.items() for name in (known, choice)}
    return names.get(_fold(value), value) if isinstance(value, str) else value


def _fold(name: str) -> str:
    return name.strip().casefold().replace("_", "-")


def check_choice(setting: str, value: str, supported: tuple[str, ...]) -> None:
    """Raises a :class:`SettingsError` unless the value is supported."""
    # A dtype of numpy equals its name, but cannot be saved in a run.
    if not isinstance(value, str) or value not in supported:
        raise SettingsError(f"Unsupported {setting} {value!r}; use one of {', '.join(supported)}.")


def check_at_least(setting: str, value: int, least: int) -> None:
    """Raises a :class:`SettingsError` unless the value is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingsError(f"{setting} must be a whole number of at least {least}, not {value!r}.")
