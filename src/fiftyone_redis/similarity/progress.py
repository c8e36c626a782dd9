"""FiftyOne's progress bar, where work takes long enough to want one."""

from __future__ import annotations

from typing import Any

import fiftyone.core.utils as fou

_LONG = 5_000  # documents; fewer are done before a bar can be read


def bar(total: int, progress: Any = None) -> Any:
    """Returns a progress bar that counts documents, to be used in a ``with`` statement.

    Args:
        total: how many documents there are
        progress (None): whether to render it (True/False), a callback function to invoke instead,
            or None for FiftyOne's setting where there are many
    """
    if progress is None and total < _LONG:
        progress = False
    return fou.ProgressBar(total=total, progress=progress, iters_str="vectors")
