"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis
import services

from fiftyone_redis import __version__

_PACKAGES = ("fiftyone", "fiftyone-brain", "numpy", "redis", "hiredis", "scikit-learn")


def described() -> dict[str, str]:
    """Returns the processor, the memory and the system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Returns the versions of the packages and servers that all contenders share."""
    found = {"fiftyone-redis": __version__, **{name: version(name) for name in _PACKAGES}}
    found["MongoDB"] = services.mongodb_version()
    with tempfile.TemporaryDirectory() as folder, services.redis(Path(folder) / "r") as port:
        client = redis.Redis(port=port, decode_responses=True)
        facts: Any = client.info("server")
        modules: Any = client.info("modules")
        found["Redis"] = facts["redis_version"]
        engine = next(int(m["ver"]) for m in modules["modules"] if m["name"] == "search")
        found["its query engine"] = f"{engine // 10000}.{engine // 100 % 100}.{engine % 100}"
    return found


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
