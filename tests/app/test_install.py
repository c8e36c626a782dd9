"""`fiftyone-redis app`: FiftyOne finds the plugin, and nothing else is touched."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import fiftyone as fo
import fiftyone.plugins as fop
import pytest
from click.testing import CliRunner
from fiftyone.core.config import FiftyOneConfig
from fiftyone.plugins.context import PluginContext

from fiftyone_redis import __version__
from fiftyone_redis.app import OPERATORS, PANELS, install
from fiftyone_redis.app import plugin as app_plugin
from fiftyone_redis.cli.main import main
from fiftyone_redis.errors import SettingsError


@pytest.fixture
def plugins(monkeypatch, tmp_path) -> Path:
    """A plugins directory that is not there yet."""
    folder = tmp_path / "plugins"
    monkeypatch.setenv("FIFTYONE_PLUGINS_DIR", str(folder))
    monkeypatch.setattr(fo.config, "plugins_dir", str(folder))
    return folder


def run(*arguments: str):
    return CliRunner().invoke(main, ["app", *arguments])


def test_fiftyone_registers_every_operator_and_panel_without_errors(plugins, caplog):
    assert run("install").exit_code == 0
    with caplog.at_level(logging.WARNING):
        plugin = fop.get_plugin(install.NAME)
        context = PluginContext(plugin)
        context.register_all()
    assert (context.errors, caplog.records) == ([], [])
    assert plugin.version == __version__
    assert sorted(one.name for one in context.instances) == sorted((*OPERATORS, *PANELS))


@pytest.mark.slow
def test_fiftyone_lists_the_plugin_and_its_operators(plugins):
    run("install")
    assert install.NAME in fiftyone("plugins", "list")
    operators = fiftyone("operators", "list")
    assert "Failed" not in operators
    names = [kind().config.name for kind in app_plugin.OPERATORS]  # those with a form
    assert all(f"{install.NAME}/{name}" in operators for name in names)


def fiftyone(*arguments: str) -> str:
    """Runs FiftyOne's own command line and returns all that it prints."""
    command = [Path(sys.executable).with_name("fiftyone"), *arguments]
    return subprocess.run(
        command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ).stdout


def test_installing_does_not_import_fiftyone(plugins):
    code = (
        "from fiftyone_redis.app import install; install.install(); import sys; print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True)
    assert (plugins / install.FOLDER / "fiftyone.yml").exists()
    assert "fiftyone" not in run.stdout.split()


def test_install_says_where_and_can_be_repeated(plugins):
    first, second = run("install"), run("install")
    assert first.output == second.output
    assert first.output.startswith(f"Installed {plugins / 'fiftyone-redis'}")


def test_uninstall_takes_only_the_plugin_out(plugins):
    other = plugins / "other" / "fiftyone.yml"
    other.parent.mkdir(parents=True)
    other.write_text("name: other\n")
    run("install")
    assert run("uninstall").output == "Uninstalled.\n"
    assert list(plugins.iterdir()) == [other.parent]
    assert run("uninstall").output == "Not installed.\n"


def test_what_python_leaves_in_the_folder_goes_with_it(plugins):
    run("install")
    cache = plugins / install.FOLDER / "__pycache__"
    cache.mkdir()
    (cache / "__init__.cpython-311.pyc").write_bytes(b"")
    assert run("uninstall").exit_code == 0
    assert list(plugins.iterdir()) == []


@pytest.mark.parametrize("command", ["install", "uninstall", "status"])
def test_a_folder_that_is_not_ours_is_refused(plugins, command):
    theirs = plugins / install.FOLDER / "fiftyone.yml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("name: theirs\n")
    result = run(command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "was not made by" in result.stderr
    assert theirs.read_text() == "name: theirs\n"


def test_files_that_others_put_beside_ours_are_refused(plugins):
    run("install")
    theirs = plugins / install.FOLDER / "notes.txt"
    theirs.write_text("keep this")
    result = run("uninstall")
    assert result.exit_code == 1
    assert "notes.txt" in result.stderr
    assert run("status").exit_code == 0
    assert theirs.read_text() == "keep this"


def test_status_says_what_is_there(plugins):
    missing = run("status")
    text = "Not installed; run `fiftyone-redis app install`.\n"
    assert (missing.exit_code, missing.output) == (1, text)
    run("install")
    there = run("status")
    assert there.exit_code == 0
    assert there.output == f"Installed {plugins / install.FOLDER}, version {__version__}.\n"


def test_another_version_is_told_and_mended(plugins):
    run("install")
    manifest = plugins / install.FOLDER / "fiftyone.yml"
    manifest.write_text(manifest.read_text().replace(__version__, "0.0.1"))
    assert run("status").exit_code == 1
    assert f"does not fit version {__version__}" in run("status").output
    run("install")
    assert run("status").exit_code == 0


def test_a_directory_that_cannot_be_made_is_one_line_on_stderr(plugins):
    plugins.write_text("in the way")
    result = run("install")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "environment"),
    [
        ({}, {}),
        ({"plugins_dir": "/plugins"}, {}),
        ({"plugins_dir": "/plugins"}, {"FIFTYONE_PLUGINS_DIR": "/others"}),
        ({"default_dataset_dir": "~/datasets"}, {}),
        ({"default_dataset_dir": "/datasets"}, {"FIFTYONE_DEFAULT_DATASET_DIR": "/others"}),
    ],
)
def test_it_goes_where_fiftyone_looks(config, environment, monkeypatch, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(install.locate()) == FiftyOneConfig(config).plugins_dir


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_config_that_cannot_be_read_is_told(text, monkeypatch, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(text)
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(path))
    with pytest.raises(SettingsError, match=r"config\.json"):
        install.locate()
