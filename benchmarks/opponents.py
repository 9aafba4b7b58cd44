"""How the same change is published by others: whole copies as people write them, better ones, and LanceDB.

Each is written as its users would write it, and sends to the same server; each keeps what it can
on the local disk between cycles, as a warm container does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import chromadb
import numpy as np
from chromadb.config import Settings

from benchmarks.figures import seconds_of
from benchmarks.receipts import COLLECTION, Labels, Word, records
from benchmarks.servers import ROOT
from benchmarks.site import Site
from chroma_lifecycle.chroma import systems
from scripts.closing_experiment import old_recipe

_WORKERS = 8


class Opponent(Protocol):
    """Publishes a change of labels."""

    @property
    def name(self) -> str:
        """How tables call it."""
        ...

    def cycle(self, change: Labels, url: str) -> float:
        """Publish it through the server at *url*; return the seconds."""
        ...


class WholeCopy:
    """As people write it today: copy in from the mounted disk, a call for each record, tar.gz up, copy out."""

    name = "whole copy, as written today"

    def __init__(self, site: Site, chroma: Path) -> None:
        self._site = site
        self._mount = site.room / "whole-mount"
        shutil.copytree(chroma, self._mount)
        self._number = 0

    def cycle(self, change: Labels, url: str) -> float:
        client = self._site.s3(url)
        self._number += 1
        work = self._site.room / f"whole-{self._number}"
        seconds = seconds_of(lambda: self._cycle(change, client, work))
        for left in systems.on_directory(work):  # or it would stay in memory for the rest of the run
            systems.stop(left)
        return seconds

    def _cycle(self, change: Labels, client: Any, work: Path) -> None:
        shutil.copytree(self._mount, work)
        chroma = _connect(work)
        collection = chroma.get_collection(COLLECTION, embedding_function=None)
        for id_, metadata in zip(change.ids, change.metadatas, strict=True):
            collection.update(ids=[id_], metadatas=[metadata])
        old_recipe(chroma)
        archive = work.with_suffix(".tar.gz")
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(work, arcname=".")
        key = f"whole/{self._number:08d}.tar.gz"
        client.upload_file(str(archive), self._site.bucket, key)
        client.put_object(Bucket=self._site.bucket, Key="whole/latest", Body=key.encode())
        # Beside the old one and then in its place, so that readers of the disk are not cut off.
        shutil.copytree(work, self._mount.with_suffix(".new"))
        shutil.rmtree(self._mount)
        self._mount.with_suffix(".new").rename(self._mount)
        shutil.rmtree(work)
        archive.unlink()


class BatchedCopy:
    """The same done well: its copy is kept between cycles, one batched call, plain parallel uploads of the files."""

    name = "whole copy, batched and parallel"

    def __init__(self, site: Site, chroma: Path) -> None:
        self._site = site
        self._copy = site.room / "batched-0"
        shutil.copytree(chroma, self._copy)
        self._number = 0

    def cycle(self, change: Labels, url: str) -> float:
        client = self._site.s3(url)
        self._number += 1
        return seconds_of(lambda: self._cycle(change, client, self._site.room / f"batched-{self._number}"))

    def _cycle(self, change: Labels, client: Any, work: Path) -> None:
        # A cycle that fails half-way must not spoil the copy.
        shutil.copytree(self._copy, work)
        chroma = _connect(work)
        collection = chroma.get_collection(COLLECTION, embedding_function=None)
        collection.update(ids=change.ids, metadatas=change.metadatas)
        chroma.close()
        prefix = f"batched/{self._number:08d}"
        files = [path for path in work.rglob("*") if path.is_file()]
        with ThreadPoolExecutor(_WORKERS) as threads:
            sent = threads.map(
                lambda path: client.upload_file(
                    str(path), self._site.bucket, f"{prefix}/{path.relative_to(work).as_posix()}"
                ),
                files,
            )
            list(sent)
        client.put_object(Bucket=self._site.bucket, Key="batched/latest", Body=prefix.encode())
        shutil.rmtree(self._copy)
        self._copy = work


def _connect(directory: Path) -> Any:
    return chromadb.PersistentClient(str(directory), settings=Settings(anonymized_telemetry=False))


class Lance:
    """LanceDB's ``merge_insert``, in an environment of its own; see ``lance_worker.py``."""

    name = "LanceDB merge_insert"

    def __init__(self, process: subprocess.Popen[str], site: Site) -> None:
        self._process = process
        made = records([Word(number) for number in range(site.records)], site.dimension)
        vectors, columns = site.room / "lance.npy", site.room / "lance.json"
        np.save(vectors, made.vectors)
        keys = {key: [metadata[key] for metadata in made.metadatas] for key in made.metadatas[0]}
        columns.write_text(json.dumps({"id": made.ids, "document": made.documents, **keys}))
        self._ask(do="fill", url=site.url, uri=f"s3://{site.bucket}/lance", vectors=str(vectors), columns=str(columns))
        vectors.unlink()
        columns.unlink()

    def cycle(self, change: Labels, url: str) -> float:
        return float(self._ask(do="update", url=url, ids=change.ids, values=change.metadatas)["seconds"])

    def version(self) -> str:
        """Return the version of LanceDB."""
        return str(self._ask(do="version")["version"])

    def _ask(self, **question: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "problem" in answer:
            raise RuntimeError(f"LanceDB: {answer['problem']}")
        return dict(answer)


_LANCE = ROOT / ".work" / "lancedb"


@contextmanager
def lance(site: Site) -> Iterator[Lance]:
    """Give LanceDB with the same records."""
    command = [str(_LANCE / "bin" / "python"), str(Path(__file__).with_name("lance_worker.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield Lance(process, site)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def has_lance() -> bool:
    """Return whether its environment is there (``make bench`` makes it)."""
    return (_LANCE / "bin" / "python").exists()
