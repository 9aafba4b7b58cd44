"""Publish a version every so many seconds until standard input ends: ``publish_often HOME DIMENSION SECONDS``."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import structlog

from chroma_lifecycle.clock import SYSTEM_CLOCK
from tests.support.news import News
from tests.support.world import World


def main() -> None:
    """Publish, and print when which version was published, by the clock that all processes share."""
    home, dimension, every = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    world = World(home, dimension=dimension)
    with world.compactor("publisher") as machine:
        news = News(world, machine)
        due = SYSTEM_CLOCK.monotonic()
        while not over.wait(max(0.0, due - SYSTEM_CLOCK.monotonic())):
            due += every
            version = news.publish()
            print(SYSTEM_CLOCK.monotonic(), version, flush=True)


if __name__ == "__main__":
    main()
