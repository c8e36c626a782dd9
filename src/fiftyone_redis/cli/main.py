"""The command line: each command parses, calls one function and prints what it returned.

Each group of commands has a module of its own. Whatever is slow to import is imported by the
command that needs it, so that help is instant.
"""

from __future__ import annotations

import click

from fiftyone_redis import __version__
from fiftyone_redis.cli.adopt import adopt
from fiftyone_redis.cli.app import app
from fiftyone_redis.cli.backend import disable, enable
from fiftyone_redis.cli.demo import demo
from fiftyone_redis.cli.doctor import doctor
from fiftyone_redis.cli.group import Group
from fiftyone_redis.cli.indexes import ls, prune
from fiftyone_redis.cli.runs import create, drop, info, rebuild, rename, search, sync
from fiftyone_redis.cli.server import server
from fiftyone_redis.cli.transfer import export_command, import_command

_EXAMPLES = (
    'fiftyone-redis enable              # use this package for backend="redis" from now on',
    "fiftyone-redis ls                  # list the indexes, and the runs that use them",
    "fiftyone-redis sync birds images   # bring an index in step with its dataset",
    "fiftyone-redis server start        # start a private Redis, which the backend finds",
    "fiftyone-redis app install         # add its panel to the FiftyOne App",
    "fiftyone-redis doctor              # check the setup, and say how to fix it",
    "fiftyone-redis demo                # try it on handwritten digits",
)


_SECTIONS = {
    "Indexes": (ls, info, create, sync, search, rebuild, rename, drop, prune),
    "Files": (export_command, import_command),
    "Setup": (enable, disable, adopt, doctor, server, app),
    "To try it": (demo,),
}


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    examples=_EXAMPLES,
    sections=_SECTIONS,
)
@click.version_option(__version__, "-V", "--version", prog_name="fiftyone-redis")
def main() -> None:
    """Search FiftyOne datasets with Redis."""
