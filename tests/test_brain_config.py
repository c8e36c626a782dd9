"""Changing FiftyOne's brain config: one setting, the rest untouched, all of it or none."""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fiftyone_redis import CONFIG_CLS
from fiftyone_redis.brain_config import disable, enable, is_enabled, locate
from fiftyone_redis.errors import SettingsError

ENABLED = {"similarity_backends": {"redis": {"config_cls": CONFIG_CLS}}}
SECRET = "hunter2-geheim"

PRINT_BACKEND = """
import fiftyone.brain as fob
print(fob.brain_config.similarity_backends["redis"]["config_cls"])
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "brain_config.json"


def write(path: Path, settings: object) -> bytes:
    path.write_text(json.dumps(settings))
    return path.read_bytes()


def read(path: Path) -> object:
    return json.loads(path.read_text())


def names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("FIFTYONE_BRAIN_CONFIG_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate() == tmp_path / ".fiftyone" / "brain_config.json"


def test_the_environment_names_another_file(monkeypatch, path):
    monkeypatch.setenv("FIFTYONE_BRAIN_CONFIG_PATH", str(path))
    assert locate() == path
    assert enable()
    assert read(path) == ENABLED
    assert is_enabled()
    assert disable()


def test_enable_makes_the_file_and_its_folder_for_the_owner_only(tmp_path):
    path = tmp_path / "new" / "folder" / "brain_config.json"
    assert enable(path) is True
    assert read(path) == ENABLED
    assert mode(path) == 0o600


def test_enable_keeps_all_else_in_its_order(path):
    redis = {"password": "sécret", "host": "there", "config_cls": "some.other.Config"}
    backends = {"zebra": {"b": 1, "a": [None, 0.5]}, "redis": redis, "adder": {}}
    write(path, {"z": True, "similarity_backends": backends, "a": "ü"})
    enable(path)
    redis["config_cls"] = CONFIG_CLS
    expected = {"z": True, "similarity_backends": backends, "a": "ü"}
    assert json.dumps(read(path)) == json.dumps(expected)


def test_the_file_reads_the_same_in_every_locale(path):
    path.write_text('{"name": "ü"}', encoding="utf-8")
    enable(path)
    assert path.read_bytes().isascii()
    assert read(path)["name"] == "ü"


def test_enable_twice_writes_once(path):
    assert enable(path) is True
    before = path.stat()
    assert enable(path) is False
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_disable_takes_out_what_enable_put_in(path):
    write(path, {"before": 1})
    enable(path)
    assert disable(path) is True
    assert read(path) == {"before": 1}


def test_disable_keeps_other_settings_of_redis(path):
    write(path, {"similarity_backends": {"redis": {"host": "there"}}})
    enable(path)
    disable(path)
    assert read(path) == {"similarity_backends": {"redis": {"host": "there"}}}


def test_disable_keeps_other_backends_even_empty_ones(path):
    write(path, {"similarity_backends": {"qdrant": {}}})
    enable(path)
    disable(path)
    assert read(path) == {"similarity_backends": {"qdrant": {}}}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"similarity_backends": {}},
        {"similarity_backends": {"redis": {}}},
        {"similarity_backends": {"redis": {"config_cls": "some.other.Config"}}},
    ],
)
def test_disable_leaves_what_is_not_ours(path, settings):
    before = write(path, settings)
    assert disable(path) is False
    assert path.read_bytes() == before


def test_disable_makes_no_file(path):
    assert disable(path) is False
    assert not path.exists()


def test_is_enabled_tells_what_the_file_says(path):
    assert not is_enabled(path)
    enable(path)
    assert is_enabled(path)
    disable(path)
    assert not is_enabled(path)


def test_another_class_is_not_enabled(path):
    write(path, {"similarity_backends": {"redis": {"config_cls": "some.other.Config"}}})
    assert not is_enabled(path)


@pytest.mark.parametrize("permissions", [0o644, 0o640, 0o600])
def test_the_mode_of_the_file_stays(path, permissions):
    write(path, {})
    path.chmod(permissions)
    enable(path)
    assert mode(path) == permissions


def test_a_symbolic_link_stays_and_its_file_changes(tmp_path, path):
    real = tmp_path / "dotfiles" / "brain.json"
    real.parent.mkdir()
    write(real, {"kept": 1})
    path.symlink_to("dotfiles/brain.json")
    enable(path)
    assert path.is_symlink()
    assert read(real) == {"kept": 1, **ENABLED}
    assert names(real.parent) == ["brain.json"]


def test_a_symbolic_link_to_no_file_yet_stays(tmp_path, path):
    path.symlink_to(tmp_path / "later.json")
    enable(path)
    assert path.is_symlink()
    assert read(tmp_path / "later.json") == ENABLED


@pytest.mark.parametrize("change", [enable, disable, is_enabled])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1"),
        (b'{\n  "password": "%s"\n  "x": 1}' % SECRET.encode(), "line 3"),
        (b'{"password": "%s", "x": "\xff"}' % SECRET.encode(), "UTF-8"),
        (b'["%s"]' % SECRET.encode(), "JSON object"),
        (b'{"similarity_backends": "%s"}' % SECRET.encode(), '"similarity_backends"'),
        (b'{"similarity_backends": {"redis": ["%s"]}}' % SECRET.encode(), '"redis"'),
        (b'{"similarity_backends": null}', '"similarity_backends"'),
    ],
)
def test_a_file_that_is_no_brain_config_is_refused_and_left(path, change, content, said):
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        change(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert path.read_bytes() == content


def test_a_folder_in_the_files_place_is_named_with_the_reason(path):
    path.mkdir()
    with pytest.raises(SettingsError, match=rf"Cannot read {path} \(Is a directory\)"):
        enable(path)


def test_a_parent_that_is_a_file_is_named_with_the_reason(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "brain_config.json"
    with pytest.raises(SettingsError, match=rf"{path} \(Not a directory\)"):
        enable(path)


def test_a_loop_of_symbolic_links_is_refused(path):
    path.symlink_to(path)
    with pytest.raises(SettingsError, match="Cannot read"):
        enable(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_what_may_not_be_read_or_written_is_named_with_the_reason(path):
    write(path, {})
    path.chmod(0)
    with pytest.raises(SettingsError, match=r"Cannot read .* \(Permission denied\)"):
        enable(path)
    path.chmod(0o600)
    path.parent.chmod(0o500)
    with pytest.raises(SettingsError, match=r"Cannot write .* \(Permission denied\)"):
        enable(path)
    path.parent.chmod(0o700)


def test_a_replace_that_fails_leaves_the_old_file_and_no_other(monkeypatch, path):
    before = write(path, {"password": SECRET})

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(SettingsError, match=rf"Cannot write {path} \(Input/output error\)"):
        enable(path)
    assert path.read_bytes() == before
    assert names(path.parent) == [path.name]


def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_other(path):
    before = write(path, {"password": SECRET})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        with pytest.raises(SettingsError, match=r"\(File too large\)"):
            enable(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert names(path.parent) == [path.name]


@pytest.mark.slow
def test_fiftyone_itself_obeys_the_file(tmp_path, path):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "FIFTYONE_BRAIN_CONFIG_PATH": str(path),
        "FIFTYONE_DATABASE_DIR": str(tmp_path / "database"),
        "FIFTYONE_DO_NOT_TRACK": "true",
    }

    def backend() -> str:
        command = [sys.executable, "-c", PRINT_BACKEND]
        return subprocess.check_output(command, env=environment, text=True).strip()

    enable(path)
    assert backend() == CONFIG_CLS
    disable(path)
    assert backend().startswith("fiftyone.brain.")
