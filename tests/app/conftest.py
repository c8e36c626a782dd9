"""The FiftyOne App as a person meets it: its server, a browser, and datasets that are indexed.

One server serves all tests, one browser those of a module. Each test gets a page of its own, which
remembers nothing of the one before:

    def test_the_nearest_come_first(page, digits):
        page.open(digits.dataset.name)
        page.select(3)
        page.show_similar()
        page.shows(digits.nearest(digits.embeddings[3]))

`driving.py` has what a person can do in a page. The server is a process of its own; it finds this
package and Redis by the brain config, as after `fiftyone-redis enable`, and plugins in a folder of
its own, where `fiftyone-redis app install` has put this package's. `page.picture("name")` takes a
screenshot, into the folder that the variable SCREENSHOTS names (`make screenshots`), else into
the test's own.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import browser as browsers
import fiftyone as fo
import fiftyone.brain as fob
import fiftyone.zoo as foz
import numpy as np
import pytest
from driving import Page
from fiftyone.core.odm import get_db_conn
from packaging.version import Version
from playwright.sync_api import sync_playwright
from ports import find_unused_port
from redis_panel import Panel

from fiftyone_redis import CONFIG_CLS, server
from fiftyone_redis.app import install
from fiftyone_redis.demo import datasets, images
from fiftyone_redis.demo.model import register_model

SIZE = {"width": 1280, "height": 800}
# No test needs the internet, and the App asks for fonts there.
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
STARTS_WITHIN = 120  # seconds, on a machine that does much else


@dataclass
class Indexed:
    """A dataset with an index of its samples or patches.

    Attributes:
        dataset: the dataset
        brain_key: the key of the index
        ids: the ids of what is indexed, in the order of the dataset
        embeddings: their vectors, in the same order
    """

    dataset: Any
    brain_key: str
    ids: list[str]
    embeddings: np.ndarray

    def embedding(self, one: str) -> np.ndarray:
        """Returns the vector of an id."""
        return self.embeddings[self.ids.index(one)]

    @property
    def index_name(self) -> str:
        """The name of the index in Redis."""
        return self.dataset.get_brain_info(self.brain_key).config.index_name

    def distances(self, query: np.ndarray, ids: list[str]) -> np.ndarray:
        """Returns the cosine distances of ids from a query."""
        vectors = self.embeddings[[self.ids.index(one) for one in ids]].astype(float)
        return 1 - vectors @ query / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query))

    def nearest(self, query: np.ndarray, among: list[str] | None = None, farthest=False):
        """Returns ids by their cosine distance from a query, found by brute force."""
        among = among or self.ids
        order = np.argsort(self.distances(query, among))
        return [among[i] for i in (reversed(order) if farthest else order)]


@pytest.fixture(scope="session")
def app_folder(tmp_path_factory) -> Path:
    """The folder of the App's server: its settings, its plugins and its log."""
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="session")
def app_redis(app_folder) -> str:
    """The URL of a Redis that the tests of the App have to themselves."""
    folder = Path(os.environ["HOME"]) / "app-redis"  # short, as a path to a socket has to be
    yield server.start(folder).url
    server.stop(folder)


@pytest.fixture(scope="session")
def chromium_program() -> Path:
    """The program of a browser. Without one the tests are skipped, but in CI they fail."""
    program = browsers.find()
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(browsers.MISSING)
    return program


@pytest.fixture(scope="session")
def app_environment(app_folder, app_redis) -> dict[str, str]:
    """The environment of the App's server, and of a service that does what was scheduled."""
    return environment(app_folder, app_redis)


@pytest.fixture(scope="session")
def app(chromium_program, app_folder, app_environment) -> str:
    """The URL of the App: a server of its own process, on a free port of this machine."""
    with serve(app_environment, app_folder / "server.log") as url:
        yield url


@contextmanager
def serve(environment: dict[str, str], log: Path) -> Iterator[str]:
    """Starts a server of the App, yields its URL, and stops it afterwards."""
    if Version(fo.__version__) < Version("1.22"):
        pytest.skip("The tests drive the pages of FiftyOne 1.22 and newer.")
    port = str(find_unused_port())
    command = [sys.executable, "main.py", "--address", "127.0.0.1", "--port", port]
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=Path(find_spec("fiftyone").origin).parent / "server",
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_it_answers(f"{url}/fiftyone", process, log)
        yield url
    finally:
        process.kill()  # there is nothing to save, and it takes five seconds to terminate
        process.wait()


def environment(folder: Path, redis_url: str) -> dict[str, str]:
    """Writes settings, installs the plugin, and returns the environment that names both."""
    settings = {"similarity_backends": {"redis": {"config_cls": CONFIG_CLS, "url": redis_url}}}
    (folder / "brain_config.json").write_text(json.dumps(settings))
    install.install(folder / "plugins")
    mine = {key: value for key, value in os.environ.items() if "_BRAIN_SIMILARITY_" not in key}
    return mine | {
        "FIFTYONE_BRAIN_CONFIG_PATH": str(folder / "brain_config.json"),
        "FIFTYONE_PLUGINS_DIR": str(folder / "plugins"),
        "FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS": "true",  # so that operations can be scheduled
    }


def wait_until_it_answers(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"The App's server did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def chromium(chromium_program):
    """A browser.

    While it is there, its event loop counts as running: `asyncio.run()` is for other modules.
    """
    flags = [*browsers.FLAGS, OFFLINE]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_program, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def page(chromium, app, tmp_path) -> Page:
    """A page of the App in which nothing is open yet."""
    forget_what_was_done(app)
    with open_page(chromium, app, tmp_path) as page:
        yield page


@contextmanager
def open_page(chromium, url: str, folder: Path) -> Iterator[Page]:
    """Yields a page of an App, whose screenshots go into a folder, if no other is named."""
    context = chromium.new_context(viewport=SIZE)
    pictures = Path(os.environ.get("SCREENSHOTS") or folder)
    yield Page(context.new_page(), url, pictures)
    context.close()


@pytest.fixture
def panel(page) -> Panel:
    return Panel(page)


def forget_what_was_done(url: str) -> None:
    """Closes what other pages had opened, which the server keeps, and forgets their searches."""
    close = 'mutation { setDataset(subscription: "", session: null, name: null, viewName: null) }'
    body = json.dumps({"query": close}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/graphql", data=body, headers=headers)
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer) == {"data": {"setDataset": True}}
    get_db_conn()["execution_store"].delete_many({"store_name": "similarity_search_panel"})


@pytest.fixture(scope="session")
def app_model(app_redis):
    """The demo's model, which takes text prompts, registered so that the App finds it by name."""
    return foz.load_zoo_model(register_model())


@pytest.fixture(scope="session")
def digits(app_folder, app_redis, app_model) -> Indexed:
    """The 1,797 digits, indexed with their model. No test changes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "DIGITS", "digits")  # other tests have one of the usual name
        dataset = datasets.digits(app_folder)
    embeddings = dataset.compute_embeddings(app_model)
    index(dataset, app_redis, embeddings=embeddings)
    yield Indexed(dataset, "redis", dataset.values("id"), embeddings)
    dataset.delete()


@pytest.fixture(scope="session")
def scenes(app_folder, app_redis, app_model) -> Indexed:
    """60 scenes of several digits each, whose patches are indexed. No test changes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "SCENES", "scenes")
        dataset = datasets.scenes(app_folder, count=60)
    patches = dataset.compute_patch_embeddings(app_model, datasets.FIELD)
    index(dataset, app_redis, embeddings=patches, patches_field=datasets.FIELD)
    ids = dataset.to_patches(datasets.FIELD).values("id")
    yield Indexed(dataset, "redis", ids, np.concatenate([patches[i] for i in dataset.values("id")]))
    dataset.delete()


@pytest.fixture(scope="session")
def twenty(app_folder) -> list[str]:
    """The files of 20 digits."""
    folder = app_folder / "few"
    folder.mkdir()
    files = [folder / f"{row}.png" for row in range(20)]
    for file, pixels in zip(files, images.digits()[0], strict=False):
        images.Image.fromarray(images.draw(pixels)).save(file)
    return [str(file) for file in files]


@pytest.fixture
def stopped(chromium, few, app_environment, app_folder, tmp_path) -> Panel:
    """The panel in an App that uses the private server, which was stopped."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 6379)) == 0:
            pytest.skip("A Redis on the usual port is taken before the private server.")
    folder = Path(os.environ["HOME"]) / "private"
    index(few, server.start(folder).url)
    server.stop(folder)
    settings = tmp_path / "brain_config.json"
    settings.write_text(json.dumps({"similarity_backends": {"redis": {"config_cls": CONFIG_CLS}}}))
    mine = {"FIFTYONE_BRAIN_CONFIG_PATH": str(settings), "FIFTYONE_REDIS_SERVER_DIR": str(folder)}
    with (
        serve(app_environment | mine, tmp_path / "server.log") as url,
        open_page(chromium, url, tmp_path) as page,
    ):
        page.open(few.name)
        yield Panel(page)
    server.stop(folder)


@pytest.fixture
def few(twenty, app_redis, app_model, request):
    """20 digits without an index."""
    yield from new_dataset(f"few-{request.node.name}", twenty)


@pytest.fixture
def many(twenty, app_redis, app_model, request):
    """The same 20 digits 300 times: to embed them takes the App's server half a minute."""
    yield from new_dataset(f"many-{request.node.name}", twenty * 300)


def new_dataset(name: str, files: list[str]):
    """Yields a dataset, and deletes it afterwards."""
    dataset = fo.Dataset(name.replace("_", "-")[:60], persistent=True)
    dataset.add_samples([fo.Sample(filepath=file) for file in files], progress=False)
    yield dataset
    dataset.delete()


def index(dataset, url, **settings) -> None:
    """Indexes a dataset by the demo's model, under the brain key "redis"."""
    model = register_model()
    fob.compute_similarity(
        dataset, model=model, brain_key="redis", backend="redis", url=url, **settings
    )
