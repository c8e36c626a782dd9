"""The demo: FiftyOne with Redis on real handwritten digits, on any machine, without downloads.

Importing this package imports nothing else; :func:`run` imports what the demo needs.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["remove", "run"]


def run(
    dataset: str = "digits",
    model: str | None = None,
    folder: Path | None = None,
    pictures: Path | None = None,
    launch: bool = False,
) -> None:
    """Runs the demo; see :func:`fiftyone_redis.demo.job.run`.

    Args:
        dataset: ``"digits"``, or the name of a FiftyOne zoo dataset, which may be downloaded
        model: the name of the zoo model that embeds, by default one that fits the dataset
        folder: where the demo keeps its images, by default :func:`default_folder`
        pictures: where the picture of the neighbours goes, by default ``folder``
        launch: whether to open the FiftyOne App at the end and stay until it is closed
    """
    from fiftyone_redis.demo import job  # noqa: PLC0415 - slow to import

    job.run(dataset, model, folder, pictures, launch)


def remove(folder: Path | None = None) -> None:
    """Removes what the demo has left in FiftyOne, in Redis and on disk.

    Args:
        folder: where the demo keeps its images, by default :func:`default_folder`
    """
    from fiftyone_redis.demo import job  # noqa: PLC0415 - slow to import

    job.remove(folder)
