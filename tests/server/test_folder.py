"""The private server's folder: nothing of another user's in it, or on the way to it, is used.

Root gives folders to another user; for anybody else, some folders of the system are another's.
"""

import os
from pathlib import Path

import pytest

from fiftyone_redis import server
from fiftyone_redis.errors import PrivateServerError
from fiftyone_redis.server.program import LIBRARY_FOLDER, Program, build_environment

NOBODY = 65534

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to other users")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
@pytest.mark.parametrize("planted", ["libraries/libdl.so.2", "redis.lock", "appendonlydir/x.aof"])
def test_a_folder_that_others_can_write_to_is_refused(place, mode, planted):
    (place / planted).parent.mkdir(parents=True)
    (place / planted).touch()
    place.chmod(mode)
    with pytest.raises(PrivateServerError, match="Other users can write to the folder"):
        server.start(place)
    assert place.stat().st_mode & 0o7777 == mode
    assert (place / planted).exists()


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_an_empty_one_is_closed_and_used(place, mode):
    place.mkdir()
    place.chmod(mode)
    server.start(place)
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_server_whose_folder_was_opened_is_not_reached(place):
    server.start(place)
    place.chmod(0o777)
    for use in (server.status, server.start):
        with pytest.raises(PrivateServerError, match="Other users can write to the folder"):
            use(place)
    assert server.stop(place)


@as_root
@pytest.mark.parametrize("planted", ["libraries", "redis.log", "redis.sock"])
def test_files_of_others_are_refused(place, planted):
    place.mkdir(mode=0o700)
    (place / planted).symlink_to("/etc/passwd")
    os.lchown(place / planted, NOBODY, NOBODY)
    with pytest.raises(PrivateServerError, match=f"holds files of other users .{planted}."):
        server.start(place)


def test_only_links_to_its_own_libraries_are_loaded(root):
    program = Program(Path("/bin/true"), (), (("libssl.so.1.1", Path("/lib/libssl")),))
    links = root / LIBRARY_FOLDER
    links.symlink_to("/usr/lib")
    build_environment(program, root)
    (links / "libdl.so.2").symlink_to("/lib/evil")
    found = build_environment(program, root)["LD_LIBRARY_PATH"]
    assert found.split(os.pathsep)[0] == str(links)
    assert [each.name for each in links.iterdir()] == ["libssl.so.1.1"]
    (links / "libdl.so.2").touch()
    with pytest.raises(PrivateServerError, match=r"libdl\.so\.2 is not a link to a library"):
        build_environment(program, root)


def test_a_link_of_ones_own_is_followed(root):
    (root / "real").mkdir()
    (root / "link").symlink_to("real")
    running = server.start(root / "link" / "redis")
    assert running.folder == root / "link" / "redis"
    assert (root / "real" / "redis" / "redis.sock").exists()


@as_root
@pytest.mark.parametrize("further", ["", "redis", "deep/redis"])
@pytest.mark.parametrize("use", [server.start, server.status, server.stop])
def test_a_link_of_another_user_is_not_followed(root, use, further):
    (root / "real" / further).mkdir(parents=True)
    (root / "link").symlink_to("real")
    os.lchown(root / "link", NOBODY, NOBODY)
    (root / "mine").symlink_to("link")
    for way in ("link", "mine"):
        with pytest.raises(PrivateServerError, match="a symbolic link of another user"):
            use(root / way / further)
    assert not list((root / "real").rglob("redis.lock"))


@pytest.mark.parametrize("target", ["loop", "nowhere"])
def test_a_link_that_leads_nowhere_is_refused(root, target):
    (root / "loop").symlink_to(target)
    for use in (server.start, server.status, server.stop):
        with pytest.raises(PrivateServerError, match="cannot be made or used"):
            use(root / "loop" / "redis")


def test_a_folder_that_everybody_can_replace_is_refused(root):
    (root / "open").mkdir()
    (root / "open").chmod(0o777)
    with pytest.raises(PrivateServerError, match=r"because .*/open is open to all"):
        server.start(root / "open" / "redis")
    (root / "open").chmod(0o1777)  # as /tmp is
    server.start(root / "open" / "redis")
