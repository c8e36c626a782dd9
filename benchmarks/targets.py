"""The goals that this project has set itself, and how far a run reached them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import data
from contenders import OURS, OWN, SKLEARN, by_name
from figures import MEGABYTES, MILLISECONDS, RATE, SECONDS, Series, Unit, digits, series

_CLIENT_MEMORY = 64 * 2**20
_OWN = by_name(OWN).label
_MISSING = "-"


@dataclass(frozen=True)
class Goal:
    """One line of the table.

    Args:
        work: what is done
        ours: this package's figure
        against: what it is compared with
        theirs: that one's figure
        ratio: how the two relate
        reach: what that has to be
        reached: whether it is; None if there is no figure
    """

    work: str
    ours: str
    against: str
    theirs: str
    ratio: str
    reach: str
    reached: bool | None

    @property
    def verdict(self) -> str:
        """The last column."""
        return {True: "yes", False: "**no**", None: "not measured"}[self.reached]


def goals(results: dict[str, Any]) -> list[Goal]:
    """Returns the table, in the order of what users do."""
    return [
        *_builds(results),
        *_memory(results),
        *_reads(results),
        *_views(results),
        *_all_points(results),
        *_client(results),
        *_recall(results),
    ]


def _builds(results: dict[str, Any]) -> Iterator[Goal]:
    count = results["sizes"]["count"]
    ours, own = _both(results, OWN, "build")
    yield _faster("build an index", ours.rate(count), _OWN, own.rate(count), 20, RATE)
    engine = series(results["engine"], "write").rate(count)
    bare = series(results["engine"], "write", "bare").rate(count)
    against = "prepared bytes down a socket"
    yield _faster("the same, by the engine", engine, against, bare, 0.8, RATE)


def _memory(results: dict[str, Any]) -> Iterator[Goal]:
    own = series(results["contenders"].get(OWN, {}), "build", "memory")
    for dtype, most in (("float32", 0.33), ("float16", 0.19)):
        ours = series(results["engine"], f"memory {dtype}", "memory")
        yield _smaller(f"server memory, {dtype}", ours, _OWN, own, most)


def _reads(results: dict[str, Any]) -> Iterator[Goal]:
    ours, own = _both(results, OWN, "read")
    yield _faster("read all embeddings back", ours, _OWN, own, 15, SECONDS)
    # The index object also asks MongoDB whether the neighbours are still in the dataset.
    for label, works, most in (
        ("10 nearest by id, the engine", results["engine"], 0.3),
        ("the same, FiftyOne's index object", results["contenders"].get(OURS, {}), 1.3),
    ):
        yield _at_most_later(label, works, most)


def _views(results: dict[str, Any]) -> Iterator[Goal]:
    least = {0.002: 1, 0.02: 1, 0.2: 5, 0.5: 25, 0.8: 25, 0.95: 25}
    for share in data.SHARES:
        ours, own = _both(results, OWN, data.search_name(share))
        work = f"10 nearest in a view of {share * 100:g} %"
        yield _faster(work, ours, _OWN, own, least[share], MILLISECONDS)


def _all_points(results: dict[str, Any]) -> Iterator[Goal]:
    ours, sklearn = _both(results, SKLEARN, "all points")
    work = f"10 neighbours of all {results['sizes']['points']:,} points"
    yield _faster(work, ours, by_name(SKLEARN).label, sklearn, 1, SECONDS)


def _client(results: dict[str, Any]) -> Iterator[Goal]:
    works = results["contenders"].get(OURS, {})
    for count in sorted({results["sizes"]["count"], results["sizes"]["steps"][-1]}):
        more = works.get(f"memory {count}", {})
        work = f"client memory, building {count:,}"
        if "more" not in more:
            yield _unmeasured(work, more.get("error", "not measured"))
            continue
        yield Goal(
            work,
            f"{MEGABYTES.text(more['more'])} more",
            "the array itself",
            MEGABYTES.text(more["array"]),
            _MISSING,
            "at most 64 MB more",
            more["more"] <= _CLIENT_MEMORY,
        )


def _recall(results: dict[str, Any]) -> Iterator[Goal]:
    for kind, least in (("clustered", 0.99), ("uniform", 0.95)):
        found = results["engine"].get(f"hnsw {kind}", {})
        if "default" not in found:
            yield _unmeasured(f"HNSW recall@10, {kind}", found.get("error", "not measured"))
            continue
        value = found["default"]["recall"]
        yield Goal(
            f"HNSW recall@10, {kind}, {found['dim']}-d",
            f"{value:.3f}",
            "brute force",
            "1",
            f"{value:.3f}",
            f"at least {least}",
            value >= least,
        )


def _both(results: dict[str, Any], other: str, work: str) -> tuple[Series, Series]:
    works = results["contenders"]
    return series(works.get(OURS, {}), work), series(works.get(other, {}), work)


def _faster(
    work: str, ours: Series, against: str, theirs: Series, least: float, unit: Unit
) -> Goal:
    """Compares times, or rates."""
    reach = "not slower" if least == 1 else f"at least {least:g}"
    if ours.missing or theirs.missing:
        return _unmeasured(work, ours.missing or f"{against}: {theirs.missing}", reach)
    ratio = ours.median / theirs.median if unit.more else theirs.median / ours.median
    return Goal(
        work,
        unit.spread(ours),
        against,
        unit.spread(theirs),
        digits(ratio, 2 if ratio >= 10 else 3),
        reach,
        ratio >= least,
    )


def _smaller(work: str, ours: Series, against: str, theirs: Series, most: float) -> Goal:
    reach = f"at most {most:g}"
    if ours.missing or theirs.missing:
        return _unmeasured(work, ours.missing or f"{against}: {theirs.missing}", reach)
    ratio = ours.median / theirs.median
    shown = [MEGABYTES.spread(found) for found in (ours, theirs)]
    return Goal(work, shown[0], against, shown[1], f"{ratio:.3f}", reach, ratio <= most)


def _at_most_later(work: str, works: dict[str, Any], most: float) -> Goal:
    reach = f"at most {most:g} ms more"
    more = series(works, "by id", "more")
    if more.missing:
        return _unmeasured(work, more.missing, reach)
    ours, bare = series(works, "by id"), series(works, "by id", "bare")
    return Goal(
        work,
        MILLISECONDS.spread(ours),
        "redis-py's HGET and FT.SEARCH",
        MILLISECONDS.spread(bare),
        f"+{MILLISECONDS.spread(more)}",
        reach,
        more.median <= most * 1e-3,
    )


def _unmeasured(work: str, why: str, reach: str = _MISSING) -> Goal:
    return Goal(work, why, _MISSING, _MISSING, _MISSING, reach, None)
