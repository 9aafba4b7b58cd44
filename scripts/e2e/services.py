"""What stands in for AWS on this machine: S3, SQS and DynamoDB by moto's server, functions by containers."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

sys.path.insert(0, str(Path(__file__).parents[2]))
from dev.moto import moto_server

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".work" / "e2e"
LOGS = WORK / "logs"
LOGS.mkdir(parents=True, exist_ok=True)
REGION = "eu-central-1"
BUCKET = "store"
STORE = f"s3://{BUCKET}/snapshots"
DELTAS = f"s3://{BUCKET}/deltas/"
TABLE = "archive"
WORKSPACE = Path("/tmp/chroma-lifecycle")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": REGION}
USER = "1000"
_PATH = "/2015-03-31/functions/function/invocations"

Json = dict[str, Any]


class Failed(Exception):
    """Something that ought to hold does not."""


def say(text: str) -> None:
    """Tell the person who waits."""
    sys.stdout.write(f"e2e: {text}\n")
    sys.stdout.flush()


def done(thing: str, told: str) -> None:
    """Note that *thing* ran (see parts.txt), and tell how it ended."""
    with (WORK / "ran").open("a") as ran:
        ran.write(f"containers {thing}\n")
    say(told)


def ensure(holds: bool, what: str) -> None:
    """Stop unless *what* holds."""
    if not holds:
        raise Failed(what)


def run(command: Sequence[str], **options: Any) -> str:
    """Run a command, return what it prints, and fail with what it says on its way."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise Failed(
            f"{' '.join(command[:4])} … ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return done.stdout


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Ask until the condition holds, or fail."""
    pause, end = threading.Event(), time.monotonic() + seconds
    while not condition():
        ensure(time.monotonic() < end, f"{what} within {seconds:.0f} s")
        pause.wait(0.05)


def answers(url: str) -> bool:
    """Return whether something speaks HTTP there; Docker's own proxy listens earlier than that."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, http.client.HTTPException):
        return False
    return True


@dataclass(frozen=True)
class Cloud:
    """A moto server that containers can reach."""

    url: str

    def client(self, service: str) -> Any:
        """Return a client of boto3 for it."""
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **keys)

    def environment(self) -> dict[str, str]:
        """Return what makes the AWS SDK of another process use it."""
        return {**CREDENTIALS, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": self.url}

    def objects(self, prefix: str = "") -> dict[str, str]:
        """Return the ETag of every object below a prefix of the bucket."""
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", [])}


@contextmanager
def cloud() -> Iterator[Cloud]:
    """Run a moto server on Docker's bridge, with a bucket and a table in it."""
    host = run(["docker", "network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}"]).strip()
    with moto_server(LOGS / "moto.log", host or "172.17.0.1") as url:
        made = Cloud(url)
        made.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        made.client("dynamodb").create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK")],
            KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
        )
        yield made


@dataclass(frozen=True)
class Answer:
    """What one invocation came to."""

    payload: Any
    seconds: float

    @property
    def error(self) -> str | None:
        """Type and message of the error that was raised, if one was."""
        told = self.payload
        return (
            f"{told['errorType']}: {told['errorMessage']}"
            if isinstance(told, dict) and "errorMessage" in told
            else None
        )

    @property
    def failures(self) -> list[str]:
        """Identifiers of the messages that failed."""
        ensure(self.error is None, f"the invocation answers, and does not raise {self.error}")
        # A direct call is answered with the whole report, and raises when something failed.
        return [each["itemIdentifier"] for each in self.payload.get("batchItemFailures", [])]


@dataclass
class Container:
    """The image as Lambda runs it: read-only root, a user without rights, /tmp alone to write to, one event at a time.

    Attributes:
        image: Name of the image.
        settings: Environment of the function.
        mirror: Directory that plays the EFS mount.
        workspace_mb: Size of /tmp.
        memory_mb: Memory of the function.
        timeout_seconds: What the context says that an invocation has.
    """

    image: str
    settings: Mapping[str, str]
    mirror: Path | None = None
    workspace_mb: int = 512
    memory_mb: int = 2048
    timeout_seconds: int = 60
    name: str = field(default_factory=lambda: f"chroma-lifecycle-{secrets.token_hex(4)}")
    _url: str = ""

    def __enter__(self) -> Container:
        limits = {
            "AWS_LAMBDA_FUNCTION_TIMEOUT": self.timeout_seconds,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": self.memory_mb,
        }
        environment = {**self.settings, **{name: str(value) for name, value in limits.items()}}
        command = ["docker", "run", "--detach", "--name", self.name, "--read-only", "--user", f"{USER}:{USER}"]
        command += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", f"{self.memory_mb}m"]
        command += ["--tmpfs", f"/tmp:size={self.workspace_mb}m,mode=1777", "--publish", "127.0.0.1::8080"]
        for name, value in environment.items():
            command += ["--env", f"{name}={value}"]
        if self.mirror is not None:
            self.mirror.mkdir(parents=True, exist_ok=True)
            os.chown(self.mirror, int(USER), int(USER))
            command += ["--volume", f"{self.mirror}:/mnt/mirror"]
        run([*command, self.image])
        port = int(run(["docker", "port", self.name, "8080/tcp"]).splitlines()[0].rpartition(":")[2])
        self._url = f"http://127.0.0.1:{port}{_PATH}"
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), 20, "the emulator answers")
        return self

    def __exit__(self, *_: object) -> None:
        log = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=False)
        (LOGS / f"{self.name}.log").write_text(log.stdout + log.stderr)
        subprocess.run(["docker", "rm", "--force", self.name], capture_output=True, check=False)

    def invoke(self, event: Json) -> Answer:
        """Send one event and wait for the answer."""
        began = time.monotonic()
        request = urllib.request.Request(self._url, json.dumps(event).encode())
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds + 30) as response:
                body = response.read().decode()
        except (urllib.error.URLError, ConnectionError) as problem:
            raise Failed(f"{self.name} answers: {problem}") from problem
        try:
            payload = json.loads(body)
        except ValueError:
            payload = {"errorType": "Runtime", "errorMessage": body.strip()}
        return Answer(payload, time.monotonic() - began)

    def written(self) -> list[str]:
        """Return what lies in /tmp; the rest of the container cannot be written to."""
        told = run(["docker", "exec", self.name, "python3", "-c", "import os; print(*sorted(os.listdir('/tmp')))"])
        return told.split()

    def init_seconds(self) -> float | None:
        """Return how long Lambda's initialisation took, mostly imports, by the emulator's log."""
        told = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=False)
        found = re.search(r"INIT REPORT\(durationMs: ([0-9.]+)\)", told.stdout + told.stderr)
        return float(found[1]) / 1_000 if found else None


def settings_for(
    cloud: Cloud, *, mapping: str = "/var/task/mapping.yaml", mirror: str = "/mnt/mirror", store: str = STORE
) -> dict[str, str]:
    """Return the environment that the function has in these runs."""
    return {
        **cloud.environment(),
        "CHROMA_LIFECYCLE_STORE": store,
        "CHROMA_LIFECYCLE_MIRROR": mirror,
        "CHROMA_LIFECYCLE_MAPPING": mapping,
        "CHROMA_LIFECYCLE_WORKSPACE": str(WORKSPACE),
        "CHROMA_LIFECYCLE_TABLE": TABLE,
        "CHROMA_LIFECYCLE_DELTAS": DELTAS,
        "CHROMA_LIFECYCLE_DEADLINE_RESERVE_SECONDS": "5",
        "CHROMA_LIFECYCLE_LOG_LEVEL": "INFO",
    }
