"""What the progress of long work says."""

import time

from fiftyone_redis.app.progress import follow_long_work
from fiftyone_redis.similarity.progress import bar


def test_work_that_is_slower_than_announced_says_so():
    captions = []
    follow, announce = follow_long_work(lambda _, caption: captions.append(caption))
    announce("Searching 2 embeddings in about 10 ms", 0.01)
    with bar(2, follow, "Searching") as searching:
        time.sleep(0.5)
        searching.update()
    assert captions[1] == "About 1.0 seconds in all. Searching 1 of 2"
    with bar(2, follow, "Grouping") as grouping:
        grouping.update()
    assert not captions[-1].startswith("About 10 ms")


def test_work_that_is_faster_than_announced_is_not_hurried():
    captions = []
    follow, announce = follow_long_work(lambda _, caption: captions.append(caption))
    announce("Searching 2 embeddings in about 20 seconds", 20)
    with bar(2, follow, "Searching") as searching:
        searching.update()
    assert captions[1] == "About 20 seconds in all. Searching 1 of 2"
