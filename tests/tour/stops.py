"""The stops of the error tour: each provokes one error of the tree by a command that a user could give."""

from __future__ import annotations

import resource
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.s3 import S3Store
from chroma_lifecycle.publishing.layout import publish_layout
from chroma_lifecycle.publishing.retention import pin
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.support.command_line import COLLECTION
from tests.support.layouts import layout_spec
from tests.support.s3 import CREDENTIALS, FaultProxy, after, fault_proxy, new_bucket, passes, s3_client, says

Environment = dict[str, str]
Around = Callable[[Path], AbstractContextManager[Environment]]

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-c", "from chroma_lifecycle.cli import main; main()")
FUNCTION = (sys.executable, "-m", "scripts.invoke")


@dataclass(frozen=True)
class Stop:
    """One error.

    Attributes:
        error: Its class.
        happened: What led to it, as a sentence.
        command: What a user types, without the program's name.
        then: What to do, as sentences.
        around: Prepares the directory, and gives variables for the command; whatever it holds is let go afterwards.
        program: What runs; by default the command line.
        shown: How the program is called on the page.
        most_file_bytes: How long a file may become, where a disk is to be full.
    """

    error: str
    happened: str
    command: str
    then: str
    around: Around = field(default=lambda _: nullcontext({}))
    program: Sequence[str] = PROGRAM
    shown: str = "chroma-lifecycle"
    most_file_bytes: int | None = None

    def run(self, home: Path) -> tuple[int, str]:
        """Run the command in *home*; return the exit code and what is printed, in the words of the page."""
        with self.around(home) as variables:
            ended = subprocess.run(
                [*self.program, *shlex.split(self.command)],
                cwd=home,
                env=environment(home) | variables,
                capture_output=True,
                text=True,
                timeout=300,
                preexec_fn=self._limit if self.most_file_bytes else None,
            )
        told = (ended.stdout + ended.stderr).replace(f"{home.resolve()}/", "").replace(str(home.resolve()), ".")
        return ended.returncode, told

    def _limit(self) -> None:
        assert self.most_file_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.most_file_bytes, self.most_file_bytes))


def environment(home: Path) -> Environment:
    """What the shell of the tour has set."""
    settings = {"STORE": "store", "MAPPING": "notes.yaml", "WORKSPACE": "workspace", "DELTAS": "deltas"}
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "LANG": "C.UTF-8",
        "ANONYMIZED_TELEMETRY": "False",
        **{f"CHROMA_LIFECYCLE_{name}": text for name, text in settings.items()},
    }


@contextmanager
def _holding(home: Path, code: str) -> Iterator[Environment]:
    """Let another process hold something for as long as the command runs."""
    other = subprocess.Popen(
        [sys.executable, "-c", f"{code}\nprint('held', flush=True)\ninput()"],
        cwd=home,
        env=environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    try:
        yield {}
    finally:
        other.communicate("\n")


def _owned_workspace(home: Path) -> AbstractContextManager[Environment]:
    return _holding(
        home,
        "from pathlib import Path\nfrom chroma_lifecycle.snapshot.workspace import Workspace\n"
        f"Workspace.open(Path('workspace/{COLLECTION}'))",
    )


def _open_directory(home: Path) -> AbstractContextManager[Environment]:
    subprocess.run(
        [*PROGRAM, "restore", "--to", "mine"], cwd=home, env=environment(home), check=True, capture_output=True
    )
    return _holding(home, "import chromadb\nclient = chromadb.PersistentClient('mine')\nclient.list_collections()")


@contextmanager
def _torn_head(home: Path) -> Iterator[Environment]:
    heads = home / "store" / COLLECTION / "heads"
    newest = max(heads.iterdir())
    newest.write_bytes(newest.read_bytes()[:100])
    yield {}


@contextmanager
def _missing_manifest(home: Path) -> Iterator[Environment]:
    min((home / "store" / COLLECTION / "manifests").iterdir()).unlink()
    yield {}


@contextmanager
def _in_shards(home: Path) -> Iterator[Environment]:
    publish_layout(DirectoryStore(home / "store"), layout_spec(), None)
    yield {}


def _copy_in_s3(home: Path) -> S3Store:
    """Return a store in a bucket that holds what the one of the tour does."""
    bucket = new_bucket()
    for path in (home / "store").rglob("*"):
        name = path.relative_to(home / "store").as_posix()
        if path.is_file() and "/heads/" not in name and "/." not in name:
            s3_client().put_object(Bucket=bucket, Key=name, Body=path.read_bytes())
    return S3Store(S3Address.parse(f"s3://{bucket}"), s3_client())


@contextmanager
def _behind(proxy: FaultProxy, store: S3Store) -> Iterator[Environment]:
    yield {**CREDENTIALS, "AWS_ENDPOINT_URL": proxy.url, "CHROMA_LIFECYCLE_STORE": store.address}


@contextmanager
def _others_are_quicker(home: Path) -> Iterator[Environment]:
    store, numbers = _copy_in_s3(home), count(1)
    with fault_proxy() as proxy:
        other = after(lambda: pin(store, COLLECTION, f"other-{next(numbers)}", writer="another writer"))
        proxy.always("PUT", "HEAD", other)
        with _behind(proxy, store) as variables:
            yield variables


@contextmanager
def _no_answer_about_head(home: Path) -> Iterator[Environment]:
    store = _copy_in_s3(home)
    with fault_proxy() as proxy:
        proxy.on("GET", "HEAD", passes)
        proxy.always("GET", "HEAD", says(503, "SlowDown"))
        proxy.always("PUT", "HEAD", says(500, "InternalError"))
        with _behind(proxy, store) as variables:
            yield variables


@contextmanager
def _nobody_listens(home: Path) -> Iterator[Environment]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        yield {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}


@contextmanager
def _planted(home: Path) -> Iterator[Environment]:
    (home / "planted").mkdir()
    (home / "planted" / "sitecustomize.py").write_text(
        "from chroma_lifecycle import cycle\n\n\n"
        "def plan(*given):\n    return {}['a text that is in no error']\n\n\ncycle.plan = plan\n"
    )
    yield {"PYTHONPATH": f"{home / 'planted'}:{ROOT}"}


STOPS = (
    Stop(
        "BadInput",
        "Here the name of a mapping is misspelt.",
        "mapping check note.yaml",
        "Mend what is named. In a batch the one message fails alone, and the rest is published.",
    ),
    Stop(
        "Sharded",
        "Here one shard is to be brought in step with the whole table.",
        "resync --table items --mapping receipts --collection words.1-0",
        "What is about all shards at once refuses one of them, and what is about one refuses the whole, so that nobody "
        "takes a part for the whole. Name what the hint names.",
        around=_in_shards,
    ),
    Stop(
        "NotInitialised",
        "The address or the name is wrong, the collection was never begun, or HEAD was deleted.",
        "log --collection other",
        "Look at the store and the name first. A new collection begins with `init`; a HEAD that was deleted comes back "
        "by `recover`. Nothing else ever creates one.",
    ),
    Stop(
        "NotOwned",
        "Another process compacts in the same workspace.",
        "compact third.json",
        "Let it end, or give this one a workspace of its own. The lock of a process that died is gone with it.",
        _owned_workspace,
    ),
    Stop(
        "NotClosed",
        "Here another process has the directory open with a Chroma client.",
        "init --from mine --store second",
        "End the other holder. `doctor DIR` names it, and says when a copy is safe.",
        _open_directory,
    ),
    Stop(
        "Corrupt",
        "Here HEAD is torn.",
        "log",
        "`verify --all` names every damaged object. Bring it back from a backup or the mirror, or take the newest "
        "sound version by `restore --fallback`.",
        _torn_head,
    ),
    Stop(
        "ObjectMissing",
        "Here somebody deleted a manifest by hand; a rule of the bucket can do the same.",
        "show --version 1",
        "If a sweep ran meanwhile, the same again succeeds. If not, `verify --all` tells what else is gone.",
        _missing_manifest,
    ),
    Stop(
        "StoreUnavailable",
        "Here nobody listens at its address.",
        "log --store s3://bucket/snapshots",
        "The same again succeeds when the store does. Look at the network (in a VPC: the gateway endpoint), the region "
        "and the permissions.",
        _nobody_listens,
    ),
    Stop(
        "NoRoom",
        "Here no file may become longer than 100 kB.",
        "restore --to out",
        "Make room on the disk that is named, or give the function more storage. Nothing is left behind.",
        most_file_bytes=100_000,
    ),
    Stop(
        "NoTime",
        "Here the function has a second left.",
        "third.json --seconds 1 --dimension 3",
        "Nothing to do: the batch comes again. If it keeps happening, give the function more time or memory, or "
        "smaller batches.",
        program=FUNCTION,
        shown="python -m scripts.invoke",
    ),
    Stop(
        "HeadMoved",
        "Here another writer pins a version each time before this one does.",
        "pin busy",
        "Run it again. If it keeps happening, `log` shows who publishes so often.",
        _others_are_quicker,
    ),
    Stop(
        "OutcomeUnknown",
        "Here the store fails in the middle of the swap, and then does not let HEAD be read.",
        "pin doubtful",
        "Delete nothing. Run the same again: what landed is found, and is not done twice.",
        _no_answer_about_head,
    ),
    Stop(
        "Defect",
        "Here one is planted in what plans a cycle.",
        "compact third.json",
        "Report the kind and the place, and the lines of the log that lead there. The messages come again; those of "
        "other collections are published.",
        _planted,
    ),
)
"""In the order of what people meet most."""
