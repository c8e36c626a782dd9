"""The commands on one index, named by its dataset and brain key."""
# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from fiftyone_redis.cli.connection import connection_options
from fiftyone_redis.cli.group import Command
from fiftyone_redis.cli.output import print_json, print_table

_EXAMPLES = {
    "info": "fiftyone-redis info birds images",
    "create": "fiftyone-redis create birds images --model clip-vit-base32-torch",
    "sync": "fiftyone-redis sync birds images --dry-run",
    "rebuild": "fiftyone-redis rebuild birds images --algorithm HNSW --dtype float16",
    "drop": "fiftyone-redis drop birds images",
    "search": 'fiftyone-redis search birds images "a red bird" -k 5',
}


def _command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    return click.command(name, cls=Command, epilog=f"\b\nExample:\n  {_EXAMPLES[name]}\n")


_dataset = click.argument("dataset")
_brain_key = click.argument("brain_key")
_json = click.option("--json", "as_json", is_flag=True, help="Print an object.")


@_command("info")
@_dataset
@_brain_key
@connection_options
@_json
def info(dataset: str, brain_key: str, connection: dict[str, Any], as_json: bool) -> None:
    """Show an index: its settings, size and memory."""
    from fiftyone_redis.doctor.findings import format_bytes
    from fiftyone_redis.engine.documents.documents import Documents
    from fiftyone_redis.engine.inventory import estimate_memory
    from fiftyone_redis.engine.schema.options import OPTIONS

    index = _load(dataset, brain_key, connection).open_index()
    schema, count = index.schema, len(index)
    memory = estimate_memory(Documents(index.client, schema), index.info(), count)
    settings = {
        name: getattr(schema, name)
        for name, option in OPTIONS.items()
        if option.is_of(schema.algorithm)
    }
    found = {"index": schema.name, "vectors": count, "dim": schema.dim, **settings}
    if as_json:
        print_json({**found, "memory": memory})
        return
    for name, value in {**found, "memory": format_bytes(memory)}.items():
        click.echo(f"{name:<16}{value}")


@_command("create")
@_dataset
@_brain_key
@click.option("--model", help="Embed with this model of FiftyOne's zoo.")
@click.option("--embeddings", "field", help="Take the vectors from this field.")
@click.option("--patches", "patches_field", help="Index the patches of this field.")
@click.option("--algorithm", help="FLAT, HNSW or SVS-VAMANA.")
@click.option("--metric", help="cosine, dotproduct or euclidean.")
@click.option("--dtype", help="The type of the vectors, such as float16.")
@connection_options
def create(
    dataset: str,
    brain_key: str,
    model: str | None,
    field: str | None,
    patches_field: str | None,
    connection: dict[str, Any],
    **options: str | None,
) -> None:
    """Make an index, and fill it from a model or a field."""
    import fiftyone.brain as fob

    if (model is None) == (field is None):
        raise click.UsageError("Give either --model or --embeddings.")
    source = {"model": model} if field is None else {"embeddings_field": field}
    given = {name: value for name, value in options.items() if value is not None}
    index = fob.compute_similarity(
        _load_dataset(dataset),
        patches_field=patches_field,
        embeddings=False,
        brain_key=brain_key,
        backend="redis",
        **source,
        **given,
        **connection,
    )
    click.echo(index.sync())


@_command("sync")
@_dataset
@_brain_key
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--batch-size", type=click.IntRange(1), help="Samples that the model takes at once.")
@click.option("--num-workers", type=click.IntRange(0), help="Workers that load images.")
@connection_options
@_json
def sync(
    dataset: str,
    brain_key: str,
    dry_run: bool,
    batch_size: int | None,
    num_workers: int | None,
    connection: dict[str, Any],
    as_json: bool,
) -> None:
    """Add what is new, embed again what was replaced, remove what is gone."""
    index = _load(dataset, brain_key, connection)
    result = index.sync(dry_run, batch_size, num_workers)
    if as_json:
        print_json(asdict(result))
    else:
        click.echo(result)


@_command("rebuild")
@_dataset
@_brain_key
@click.option("--algorithm", help="FLAT, HNSW or SVS-VAMANA.")
@click.option("--metric", help="cosine, dotproduct or euclidean.")
@click.option("--dtype", help="The type of the vectors, such as float16.")
@click.option("--storage", help="HASH, for the JSON documents of FiftyOne's own backend.")
@click.option("--force", is_flag=True, help="Rebuild an index that other runs use, too.")
@connection_options
def rebuild(
    dataset: str,
    brain_key: str,
    force: bool,
    connection: dict[str, Any],
    **changes: str | None,
) -> None:
    """Change an index's algorithm, metric or type in place."""
    given = {name: value for name, value in changes.items() if value is not None}
    if not given:
        raise click.UsageError("Say what to change, such as --algorithm HNSW.")
    _load(dataset, brain_key, connection).rebuild(force=force, **given)
    click.echo("Rebuilt.")


@_command("drop")
@_dataset
@_brain_key
@click.option("--force", is_flag=True, help="Delete an index that other runs use, too.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@connection_options
def drop(dataset: str, brain_key: str, force: bool, yes: bool, connection: dict[str, Any]) -> None:
    """Delete an index with its vectors, and its run."""
    index = _load(dataset, brain_key, connection)
    if not yes:
        count = f"{index.total_index_size:,}"
        click.confirm(f"Delete {count} vectors, and the run {brain_key!r}?", abort=True)
    index.cleanup(force=force)
    _load_dataset(dataset).delete_brain_run(brain_key)
    click.echo(f"Deleted {brain_key!r} of {dataset!r}.")


@_command("search")
@_dataset
@_brain_key
@click.argument("query")
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="How many to find.")
@connection_options
@_json
def search(
    dataset: str, brain_key: str, query: str, k: int, connection: dict[str, Any], as_json: bool
) -> None:
    """Find the nearest to a sample or patch (by its id), or to a text."""
    index = _load(dataset, brain_key, connection)
    samples, labels, distances = index.find_nearest(query, k)
    found = _load_dataset(dataset).select(list(samples)).values(["id", "filepath"])
    paths = dict(zip(*found, strict=True))
    ids = samples if labels is None else labels
    rows = [
        (f"{distance:.4f}", str(id), paths.get(sample, "-"))
        for id, sample, distance in zip(ids, samples, distances, strict=True)
    ]
    if as_json:
        print_json([dict(zip(("distance", "id", "filepath"), row, strict=True)) for row in rows])
    else:
        print_table(("DISTANCE", "ID", "FILE"), rows)


def _load_dataset(name: str) -> Any:
    import fiftyone as fo

    import fiftyone_redis

    fiftyone_redis.register()
    if not fo.dataset_exists(name):
        known = ", ".join(fo.list_datasets()[:5]) or "none"
        raise click.ClickException(f"There is no dataset {name!r}; there are: {known}.")
    return fo.load_dataset(name)


def _load(dataset: str, brain_key: str, connection: dict[str, Any]) -> Any:
    """Loads the index of a run of this package."""
    from fiftyone_redis.backend import RedisSimilarityIndex

    loaded = _load_dataset(dataset)
    keys = loaded.list_brain_runs(method="redis")
    if brain_key not in keys:
        known = ", ".join(keys) or "none"
        raise click.ClickException(
            f"The dataset {dataset!r} has no Redis index {brain_key!r}; it has: {known}."
        )
    index = loaded.load_brain_results(brain_key, **connection)
    if not isinstance(index, RedisSimilarityIndex):
        raise click.ClickException(
            f"The run {brain_key!r} is not one of this package; run `fiftyone-redis enable`, or "
            f"`fiftyone-redis adopt {dataset} {brain_key}`."
        )
    return index
