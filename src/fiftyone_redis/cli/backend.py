"""The commands ``enable`` and ``disable``: which backend FiftyOne uses."""
# ruff: noqa: PLC0415

from __future__ import annotations

import click

from fiftyone_redis.cli import output
from fiftyone_redis.cli.group import Command

_ABOUT_RUNS = (
    "Delete the runs that this package made, since nothing can load them without it: "
    "`fiftyone-redis drop DATASET BRAIN_KEY`. For adopted runs: "
    "`fiftyone-redis adopt DATASET BRAIN_KEY --restore`. Colleagues who share the datasets need "
    "the package as long as there are such runs."
)


@click.command(cls=Command, examples=["fiftyone-redis enable"])
def enable() -> None:
    """Make backend="redis" in FiftyOne use this package."""
    from fiftyone_redis import brain_config

    path = brain_config.locate()
    changed = brain_config.enable(path)
    text = (
        f'Changed {path}: backend="redis" now uses fiftyone-redis.'
        if changed
        else f'Left {path} as it is: backend="redis" uses fiftyone-redis already.'
    )
    output.print_done({"path": path, "changed": changed}, text)


@click.command(cls=Command, examples=["fiftyone-redis disable"])
def disable() -> None:
    """Give backend="redis" back to FiftyOne."""
    from fiftyone_redis import brain_config

    path = brain_config.locate()
    changed = brain_config.disable(path)
    text = (
        f'Changed {path}: backend="redis" no longer uses fiftyone-redis.'
        if changed
        else f"Left {path} as it is: fiftyone-redis is not enabled there."
    )
    output.print_done({"path": path, "changed": changed}, text)
    output.print_note(_say_how_to_uninstall())


def _say_how_to_uninstall() -> str:
    """Returns what else to remove on this machine, in order."""
    from fiftyone_redis.app.install import status as plugin_status
    from fiftyone_redis.server import default_folder

    plugin, folder = plugin_status(), default_folder()
    steps = [_ABOUT_RUNS]
    if plugin is not None:
        steps.append(f"`fiftyone-redis app uninstall` removes the App's plugin in {plugin.folder}.")
    if folder.exists():
        steps.append(
            "`fiftyone-redis server stop` ends the private Redis; then delete its folder, which "
            f"holds its data: {folder}"
        )
    steps.append("`pip uninstall fiftyone-redis`.")
    numbered = [f"{number}. {step}" for number, step in enumerate(steps, start=1)]
    return "\n".join(["To uninstall the package too:", *numbered])
