"""The commands on one index, named by its dataset and brain key."""
# ruff: noqa: PLC0415

from __future__ import annotations

import mimetypes
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fiftyone_redis.cli import output
from fiftyone_redis.cli.connection import (
    configure,
    connection_options,
    load_dataset,
    load_index,
    require_run,
    telling_errors,
)
from fiftyone_redis.cli.group import Command
from fiftyone_redis.cli.options import (
    dataset_argument,
    key_argument,
    setting_options,
    yes_option,
)
from fiftyone_redis.errors import format_count

_NOTHING = (
    "There is nothing to index: no sample or patch has a vector. Check the field, or that the "
    "model can read the media files."
)


@click.command(cls=Command, examples=["fiftyone-redis info birds images"])
@dataset_argument
@key_argument
@connection_options
def info(dataset: str, brain_key: str, connection: dict[str, Any]) -> None:
    """Show an index: its settings, size and memory."""
    from fiftyone_redis.doctor.findings import format_bytes
    from fiftyone_redis.engine.inventory import estimate_memory
    from fiftyone_redis.engine.schema.options import OPTIONS

    index = load_index(dataset, brain_key, connection)
    opened = index.open_index()
    schema, vectors = opened.schema, len(opened)
    memory = estimate_memory(opened.client, opened.info())
    settings = {
        name: getattr(schema, name)
        for name, option in OPTIONS.items()
        if option.is_of(schema.algorithm)
    }
    config = index.config
    found = {
        "dataset": dataset,
        "brain_key": brain_key,
        "index": schema.name,
        "patches_field": config.patches_field,
        "model": config.model,
        "embeddings_field": config.embeddings_field,
        "stored_fields": [path for path, _ in config.stored_fields],
        "vectors": vectors,
        "dim": schema.dim,
        **settings,
        "memory": memory,
    }
    shown = {name: value for name, value in found.items() if value not in (None, [])}
    shown |= {"vectors": f"{vectors:,}", "memory": format_bytes(memory)}
    if "stored_fields" in shown:
        shown["stored_fields"] = ", ".join(found["stored_fields"])
    output.print_result(found, output.format_pairs([*shown.items()]))


@click.command(
    cls=Command,
    examples=[
        "fiftyone-redis create birds images --model clip-vit-base32-torch",
        "fiftyone-redis create birds images --embeddings my_field --dtype float16",
        "fiftyone-redis create birds crops --patches ground_truth --model clip-vit-base32-torch",
    ],
    note="If it is interrupted, run `fiftyone-redis sync DATASET BRAIN_KEY` to go on.",
)
@dataset_argument
@key_argument
@click.option("--model", help="Embed with this model of FiftyOne's zoo.")
@click.option("--embeddings", "field", help="Take the vectors from this field.")
@click.option("--patches", "patches_field", help="Index the patches of this field.")
@setting_options
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
    """Create an index, and fill it from a model or a field."""
    if (model is None) == (field is None):
        raise click.UsageError("Give either --model or --embeddings.")
    source = {"model": model} if field is None else {"embeddings_field": field}
    given = {name: value for name, value in options.items() if value is not None}
    loaded = load_dataset(dataset)
    configure(connection)
    import fiftyone.brain as fob

    from fiftyone_redis.errors import FiftyOneRedisError, InputError

    with telling_errors():
        index = fob.compute_similarity(
            loaded,
            patches_field=patches_field,
            embeddings=False,
            brain_key=brain_key,
            backend="redis",
            **source,
            **given,
        )
    try:
        with telling_errors():
            result = index.sync()
            if not index.total_index_size:
                raise InputError(_NOTHING)
    except (click.ClickException, FiftyOneRedisError):
        if not index.total_index_size:
            loaded.delete_brain_run(brain_key)
        raise
    output.print_done(asdict(result), str(result))


@click.command(
    cls=Command,
    examples=[
        "fiftyone-redis sync birds images --dry-run    # only say what would be done",
        "fiftyone-redis sync birds images --batch-size 64 --num-workers 8",
    ],
)
@dataset_argument
@key_argument
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--batch-size", type=click.IntRange(1), help="Samples that the model takes at once.")
@click.option("--num-workers", type=click.IntRange(0), help="Workers that load images.")
@connection_options
def sync(
    dataset: str,
    brain_key: str,
    dry_run: bool,
    batch_size: int | None,
    num_workers: int | None,
    connection: dict[str, Any],
) -> None:
    """Add new samples, embed replaced ones again, remove deleted ones."""
    index = load_index(dataset, brain_key, connection)
    with telling_errors():
        result = index.sync(dry_run, batch_size, num_workers)
    show = output.print_result if dry_run else output.print_done
    show(asdict(result), str(result))


@click.command(
    cls=Command,
    examples=["fiftyone-redis rebuild birds images --algorithm HNSW --dtype float16"],
)
@dataset_argument
@key_argument
@setting_options
@click.option("--storage", help="HASH converts the JSON documents of FiftyOne's own backend.")
@click.option("--force", is_flag=True, help="Rebuild it even if other runs use it.")
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
    index = load_index(dataset, brain_key, connection)
    index.rebuild(force=force, **given)
    made = index.open_index().schema
    done = {"algorithm": made.algorithm, "metric": made.metric, "dtype": made.dtype}
    text = f"Rebuilt as {made.algorithm}, {made.metric}, {made.dtype}."
    output.print_done({"dataset": dataset, "brain_key": brain_key, **done}, text)


@click.command(
    cls=Command,
    examples=["fiftyone-redis rename birds images clip"],
    note="The index keeps its name in Redis, so other programs go on finding it.",
)
@dataset_argument
@key_argument
@click.argument("new_key")
def rename(dataset: str, brain_key: str, new_key: str) -> None:
    """Give an index another brain key."""
    loaded = load_dataset(dataset)
    from fiftyone_redis.app.brain_keys import find_problem

    require_run(loaded, brain_key)
    problem = find_problem(loaded, new_key)
    if problem:
        raise click.ClickException(problem)
    loaded.rename_brain_run(brain_key, new_key)
    renamed = {"dataset": dataset, "brain_key": new_key, "former_brain_key": brain_key}
    output.print_done(renamed, f"Renamed {brain_key!r} of {dataset!r} to {new_key!r}.")


@click.command(
    cls=Command,
    examples=[
        "fiftyone-redis drop birds images          # asks first",
        "fiftyone-redis drop birds images --yes",
    ],
)
@dataset_argument
@key_argument
@click.option("--force", is_flag=True, help="Delete it even if other runs use it.")
@yes_option
@connection_options
def drop(dataset: str, brain_key: str, force: bool, yes: bool, connection: dict[str, Any]) -> None:
    """Delete an index, its vectors and its run."""
    from fiftyone_redis.similarity.sharing import find_others

    index = load_index(dataset, brain_key, connection)
    vectors = format_count(index.total_index_size, "vector")
    if not yes:
        index.find_index()  # runs may use it by another name, which it tells
        for other in find_others(index):
            click.echo(f"The index is also used by {other}.", err=True)
    output.confirm(f"Delete {vectors}, and the run {brain_key!r} of {dataset!r}?", yes)
    index.cleanup(force=force)
    load_dataset(dataset).delete_brain_run(brain_key)
    dropped = {"dataset": dataset, "brain_key": brain_key, "index": index.config.index_name}
    output.print_done(dropped, f"Deleted {vectors}, and the run {brain_key!r} of {dataset!r}.")


@click.command(
    cls=Command,
    examples=[
        'fiftyone-redis search birds images "a red bird" -k 5',
        "fiftyone-redis search birds images 65f0c0ffee00c0ffee00c0de    # like this sample",
        "fiftyone-redis search birds images my_bird.jpg                 # like this picture",
    ],
    note="To search by text or picture, the run needs a model that embeds it.",
)
@dataset_argument
@key_argument
@click.argument("query")
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="How many to find.")
@connection_options
def search(dataset: str, brain_key: str, query: str, k: int, connection: dict[str, Any]) -> None:
    """Find the nearest neighbours of an id, a text or a picture (its path)."""
    from fiftyone_redis.similarity.dataset_ids import select_all_slices

    index = load_index(dataset, brain_key, connection)
    samples, labels, distances = index.find_nearest(_read_query(index, query), k)
    there = select_all_slices(index.samples._root_dataset).select(list(samples))
    found = there.values(["id", "filepath"])
    paths = dict(zip(*found, strict=True))
    ids = samples if labels is None else labels
    rows = [
        (float(distance), str(id), paths.get(sample, "-"))
        for id, sample, distance in zip(ids, samples, distances, strict=True)
    ]
    names = ("distance", "id", "filepath")
    text = output.format_table(
        ("DISTANCE", "ID", "FILE"), [(f"{row[0]:.4f}", *row[1:]) for row in rows]
    )
    output.print_result([dict(zip(names, row, strict=True)) for row in rows], text)


def _read_query(index: Any, query: str) -> Any:
    """Returns what to search for: the embedding of a picture, or else the id or text."""
    kind, _ = mimetypes.guess_type(query)
    if kind is None or not kind.startswith("image/"):
        return query
    if not Path(query).is_file():
        raise click.ClickException(f"There is no file {query!r}; check its path.")
    from fiftyone_redis.app.pictures import embed_file

    with telling_errors():
        return embed_file(index, query)
