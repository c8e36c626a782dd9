"""The life of a private server: starts, crashes, stops, and who may come near it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import redis

from fiftyone_redis import server
from fiftyone_redis.errors import PrivateServerError
from fiftyone_redis.server import process

START = "import sys; from fiftyone_redis import server; print(server.start(sys.argv[1]).pid)"
START_TOGETHER = f"""
import pathlib, sys, time
from fiftyone_redis import server
print("ready", flush=True)
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.001)
{START}
"""


def python(code: str, *arguments: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def crash(running: server.PrivateServer) -> None:
    os.kill(running.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_alive(running.pid):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def listens_on(running: server.PrivateServer) -> set[tuple[str, int]]:
    found = psutil.Process(running.pid).net_connections("inet")
    return {tuple(one.laddr) for one in found if one.status == psutil.CONN_LISTEN}


@pytest.fixture
def connected():
    """Connects clients to servers, and closes them."""
    clients = []

    def connect(running: server.PrivateServer) -> redis.Redis:
        clients.append(redis.Redis.from_url(running.url, protocol=2, decode_responses=True))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def test_a_started_server_has_the_query_engine(place, connected):
    client = connected(server.start(place))
    client.execute_command("FT.CREATE", "birds", "SCHEMA", "name", "TAG")
    assert client.execute_command("FT._LIST") == ["birds"]


@pytest.mark.needs("json")
def test_a_started_server_has_json(place, connected):
    assert connected(server.start(place)).execute_command("JSON.SET", "robin", "$", "{}")


def test_two_starts_give_one_server(place):
    first = server.start(place)
    assert server.start(place) == first == server.status(place)


def test_starts_of_several_processes_at_once_give_one_server(root, place):
    starters = [python(START_TOGETHER, place, root / "go") for _ in range(3)]
    for starter in starters:
        starter.stdout.readline()
    (root / "go").touch()
    pids = {starter.communicate(timeout=30)[0] for starter in starters}
    assert pids == {f"{server.status(place).pid}\n"}
    assert (place / "redis.log").read_text().count("Redis is starting") == 1


def test_two_folders_have_two_servers(root):
    assert server.start(root / "a").pid != server.start(root / "b").pid


def test_the_default_folder_comes_from_the_environment(root):
    assert server.start().folder == root / "default"
    assert server.stop()


def test_a_folder_with_a_space_has_a_url_that_works(root, connected):
    assert connected(server.start(root / "my redis #1")).ping()


def test_a_server_outlives_its_starter_and_its_interrupt(place):
    # A shell that runs the tests in the background has their children ignore interrupts.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    wait = "sys.stdout.flush(); import time; time.sleep(60)"
    starter = python(f"{listen}; {START}; {wait}", place)
    pid = int(starter.stdout.readline())
    os.killpg(starter.pid, signal.SIGINT)
    starter.communicate(timeout=10)
    assert starter.returncode
    assert server.status(place).pid == pid


def test_stop_leaves_no_process(place):
    running = server.start(place)
    assert server.stop(place)
    assert not is_alive(running.pid)
    assert server.status(place) is None


def test_there_is_nothing_to_stop_where_nothing_runs(place):
    assert not server.stop(place)
    assert not place.exists()
    server.start(place)
    server.stop(place)
    assert not server.stop(place)


def test_data_survives_a_stop(place, connected):
    connected(server.start(place)).set("robin", "red")
    server.stop(place)
    assert connected(server.start(place)).get("robin") == "red"


def test_data_and_indexes_survive_a_crash(place, connected):
    running = server.start(place)
    client = connected(running)
    client.execute_command("FT.CREATE", "birds", "SCHEMA", "colour", "TAG")
    client.hset("robin", "colour", "red")
    client.execute_command("WAITAOF", 1, 0, 5000)
    crash(running)
    found = connected(server.start(place)).execute_command("FT.SEARCH", "birds", "@colour:{red}")
    assert found == [1, "robin", ["colour", "red"]]


def test_start_returns_when_the_data_is_loaded(place, connected):
    fill = "for i = 1, 200000 do redis.call('SET', i, i) end"
    connected(server.start(place)).eval(fill, 0)
    server.stop(place)
    assert connected(server.start(place)).dbsize() == 200000


def test_a_server_that_loads_for_long_is_waited_for_or_stopped(
    root, place, install, connected, monkeypatch
):
    connected(server.start(place)).eval("for i = 1, 20000 do redis.call('SET', i, i) end", 0)
    server.stop(place)
    monkeypatch.setattr(process, "START_TIMEOUT_S", 0.3)
    slow = install(root / "slow", "lib", options="--key-load-delay 200")  # in microseconds
    for _ in range(2):
        with pytest.raises(PrivateServerError, match=r"start it again to wait longer"):
            server.start(place, program=slow)
    begun = time.monotonic()
    assert server.stop(place)
    assert time.monotonic() - begun < process.PATIENCE_S / 2


def test_the_pid_of_a_crashed_server_that_another_process_has_now_is_left_alone(place):
    crash(server.start(place))
    (place / "redis.pid").write_text(str(os.getpid()))
    assert server.status(place) is None
    assert not server.stop(place)
    assert server.start(place).pid != os.getpid()


def test_a_server_whose_socket_was_removed_is_not_started_twice(place, monkeypatch):
    running = server.start(place)
    monkeypatch.setattr(process, "START_TIMEOUT_S", 0.2)
    monkeypatch.setattr(process, "PATIENCE_S", 0.05)
    (place / "redis.sock").unlink()
    with pytest.raises(PrivateServerError, match=r"was not ready within"):
        server.start(place)
    assert server.stop(place)
    assert not is_alive(running.pid)


def test_a_server_that_hangs_is_said_to_hang(place, monkeypatch):
    running = server.start(place)
    monkeypatch.setattr("fiftyone_redis.server.probe.ANSWER_TIMEOUT_S", 0.1)
    os.kill(running.pid, signal.SIGSTOP)
    try:
        with pytest.raises(PrivateServerError, match="does not answer"):
            server.status(place)
    finally:
        os.kill(running.pid, signal.SIGCONT)


@pytest.fixture
def taken_elsewhere(place):
    """A server that looks as one on another machine does, when the folder is shared by both."""
    running = server.start(place)
    here = (place / "redis.lock").read_text()
    (place / "redis.lock").write_text("elsewhere")
    (place / "redis.sock").rename(place / "hidden.sock")
    yield running
    (place / "hidden.sock").rename(place / "redis.sock")
    (place / "redis.lock").write_text(here)


def test_a_folder_in_use_on_another_machine_is_refused(place, taken_elsewhere, monkeypatch):
    monkeypatch.setattr(process, "START_TIMEOUT_S", 0.1)
    with pytest.raises(PrivateServerError, match="started on the machine elsewhere"):
        server.start(place)


def test_a_process_of_another_machine_is_not_stopped_by_its_number(
    place, taken_elsewhere, monkeypatch
):
    with monkeypatch.context() as impatient:
        impatient.setattr(process, "PATIENCE_S", 0.05)
        impatient.setattr(process, "STOP_TIMEOUT_S", 0.3)
        with pytest.raises(PrivateServerError, match="did not stop"):
            server.stop(place)
    assert is_alive(taken_elsewhere.pid)


def test_a_server_listens_on_no_port_unless_asked(place):
    running = server.start(place)
    assert running.port is None
    assert listens_on(running) == set()


def test_a_port_is_opened_on_the_loopback_only(place, free_port):
    running = server.start(place, port=free_port)
    assert running.port == free_port
    assert listens_on(running) == {("127.0.0.1", free_port)}
    assert server.start(place) == running


def test_a_port_asked_of_a_running_server_without_it_is_refused(place, free_port):
    server.start(place)
    with pytest.raises(PrivateServerError, match=r"already runs without a port: stop it first"):
        server.start(place, port=free_port)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_cannot_be_is_refused(place, port):
    with pytest.raises(PrivateServerError, match="not between 1 and 65535"):
        server.start(place, port=port)
    assert not place.exists()


def test_a_port_that_is_taken_is_refused_with_the_end_of_the_log(root, free_port):
    server.start(root / "a", port=free_port)
    with pytest.raises(PrivateServerError, match=r"did not start(.|\n)*Address already in use"):
        server.start(root / "b", port=free_port)


def test_data_that_cannot_be_read_is_refused_with_the_end_of_the_log(place):
    server.start(place)
    server.stop(place)
    next(place.glob("appendonlydir/*.manifest")).write_text("no manifest")
    with pytest.raises(PrivateServerError, match=r"did not start(.|\n)*manifest"):
        server.start(place)
    assert server.status(place) is None


def test_a_program_that_cannot_be_used_leaves_no_server(place):
    with pytest.raises(PrivateServerError, match="not an executable file"):
        server.start(place, program=place / "nowhere")
    assert server.start(place).folder == place


def test_other_users_cannot_enter(place):
    server.start(place)
    assert place.stat().st_mode & 0o077 == 0
    assert (place / "redis.sock").stat().st_mode & 0o077 == 0


def test_an_empty_folder_open_to_others_is_closed(place):
    place.mkdir()
    place.chmod(0o755)
    server.start(place)
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_folder_open_to_others_with_other_files_is_refused(place):
    place.mkdir()
    place.chmod(0o755)
    (place / "thesis.txt").touch()
    with pytest.raises(PrivateServerError, match="can be entered by other users"):
        server.start(place)
    assert place.stat().st_mode & 0o777 == 0o755


def test_a_folder_of_another_user_is_refused(place):
    place.mkdir()
    if os.getuid() == 0:
        os.chown(place, 65534, 65534)
    theirs = place if os.getuid() == 0 else Path("/usr")
    with pytest.raises(PrivateServerError, match="belongs to another user: name one of your own"):
        server.start(theirs)
    with pytest.raises(PrivateServerError, match="belongs to another user: name one of your own"):
        server.stop(theirs)


def test_a_file_in_place_of_the_folder_is_refused(place):
    place.touch()
    with pytest.raises(PrivateServerError, match="cannot be made or used"):
        server.start(place)


def test_a_folder_too_long_for_a_socket_is_refused(root):
    with pytest.raises(
        PrivateServerError, match=r"for a Unix socket, by .*FIFTYONE_REDIS_SERVER_DIR"
    ):
        server.start(root / ("long" * 30))


def test_the_longest_folder_works(root):
    name = "x" * (server.folder.LONGEST_SOCKET_PATH - len(f"{root}//redis.sock"))
    running = server.start(root / name)
    assert server.status(root / name) == running
