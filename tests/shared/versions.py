"""What the installed version of FiftyOne can do, as a reason to skip a test."""

from importlib.metadata import version

import pytest
from packaging.version import Version

needs_frames = pytest.mark.skipif(
    Version(version("fiftyone-brain")) < Version("0.21.3"),
    reason="this version hands over the videos, not their frames",
)
