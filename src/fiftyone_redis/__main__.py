"""Runs the command line: ``python -m fiftyone_redis``."""

from fiftyone_redis.cli.main import main

if __name__ == "__main__":
    main(prog_name="fiftyone-redis")
