"""FiftyOne's progress bar, shown for long work only."""

from __future__ import annotations

from typing import Any

_LONG = 5_000  # documents; fewer take no time to speak of


def bar(total: int, progress: Any = None, caption: str = "Processing") -> Any:
    """Returns a progress bar that counts documents, for use in a ``with`` statement.

    Args:
        total: the number of documents
        progress (None): whether to render it (True/False), a callback function to invoke instead,
            or None for FiftyOne's default, without a bar for fewer than 5,000 documents
        caption: what is done with the documents, shown above the bar; a callback finds it as the
            bar's ``caption``
    """
    import fiftyone.core.utils as fou  # noqa: PLC0415 - sync.py is imported without FiftyOne

    if progress is None and total < _LONG:
        progress = False
    text = f"{caption} {total:,} vectors..."
    if not callable(progress):
        return fou.ProgressBar(total=total, progress=progress, iters_str="vectors", start_msg=text)
    # FiftyOne would draw a bar as well, and redirect the standard output of all threads.
    silent = fou.ProgressBar(total=total, progress=False)
    silent._callback = progress
    silent.caption = caption
    return silent
