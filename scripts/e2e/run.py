"""Run the image: every file of events/ by ``sam local invoke``, and a warm function by the emulator.

    run.py [events | function]...        what to run; without a word, both

The image, the SAM build and the environment of ``make install`` must be there (build.sh). One line is
printed for each thing that was run, and its name is noted for parts.txt. The first that does not hold ends the run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services import (
    BUCKET,
    DELTAS,
    LOGS,
    REGION,
    ROOT,
    STORE,
    WORK,
    WORKSPACE,
    Answer,
    Cloud,
    Container,
    Failed,
    cloud,
    done,
    ensure,
    run,
    say,
    settings_for,
)  # fmt: skip

sys.path.insert(0, str(ROOT))
from chroma_lifecycle.deltas.writer import DeltaWriter
from examples.debian import story

IMAGE = os.environ.get("IMAGE", "chroma-lifecycle:local")
SAM = ROOT / ".work/sam/.venv/bin/sam"
CLI = ROOT / ".venv/bin/chroma-lifecycle"


def main() -> int:
    """Run what was asked for."""
    wanted = sys.argv[1:] or list(PARTS)
    try:
        for name in wanted:
            with cloud() as made, tempfile.TemporaryDirectory(prefix="chroma-lifecycle-e2e-") as scratch:
                PARTS[name](made, Path(scratch))
    except Failed as problem:
        say(f"FAILED: {problem}")
        return 1
    return 0


def command_line(cloud: Cloud, scratch: Path, mapping: str, *arguments: str) -> str:
    """Run the command line as an operator beside the function would, on a workspace of its own."""
    settings = {
        **settings_for(cloud, mapping=mapping, mirror=""),
        "CHROMA_LIFECYCLE_WORKSPACE": str(scratch / "operator"),
    }
    return run([str(CLI), *arguments], env={**os.environ, **settings}, cwd=ROOT)


# ---------------------------------------------------------------- events/ by sam local invoke


def events(cloud: Cloud, scratch: Path) -> None:
    """Invoke every event file, each on a store as new; ``bad-`` files fail something, ``ok-`` files nothing."""
    files = sorted((ROOT / "events").glob("*.json"))
    ensure(bool(files), "events/ holds event files")
    prepare_receipts(cloud, scratch)
    new = cloud.objects("snapshots/")
    first, *others = files
    done(first.name, one_event(cloud, scratch, new, first))  # alone: SAM adds its emulator to the image at the first
    with ThreadPoolExecutor(3) as pool:  # each waits for Docker most of the time
        for file, told in zip(others, pool.map(lambda file: one_event(cloud, scratch, new, file), others), strict=True):
            done(file.name, told)


def one_event(cloud: Cloud, scratch: Path, new: Iterable[str], file: Path) -> str:
    """Invoke one event file on a copy of the new store, and say how it ended."""
    names = {name: name.replace("snapshots/", f"{file.stem}/", 1) for name in new}
    for name, copy in names.items():
        cloud.client("s3").copy_object(Bucket=BUCKET, Key=copy, CopySource={"Bucket": BUCKET, "Key": name})
    settings = settings_for(cloud, mapping="receipts", mirror="/tmp/mirror", store=f"s3://{BUCKET}/{file.stem}")
    answer = sam_invoke(file, scratch, settings)
    failed = answer.error is not None or bool(answer.failures)
    ensure(failed == file.name.startswith("bad-"), f"{file.name} ends as its name says, and not as {answer.payload}")
    published = cloud.objects(f"{file.stem}/").keys() != set(names.values())
    ended = "refused" if answer.error else f"{len(answer.failures)} failed"
    return f"sam local invoke {file.name}: {ended}, {'published' if published else 'nothing published'}"


def prepare_receipts(cloud: Cloud, scratch: Path) -> None:
    """Make the collections of the shipped mapping that the events are about, and the delta that they announce."""
    line = "IMAGE#7f2a#RECEIPT#00001#LINE#00002"
    ids = {"words": [f"{line}#WORD#{number:05d}" for number in (1, 2, 3)], "lines": [line]}
    for collection, of_delta in ids.items():
        command_line(cloud, scratch, "receipts", "init", "--collection", collection, "--dimension", "4")
        delta = scratch / f"{collection}.parquet"
        with DeltaWriter(delta, dimension=4) as writer:
            writer.add(of_delta, [[1.0, number, 0.0, 0.0] for number in range(len(of_delta))])
        cloud.client("s3").upload_file(str(delta), BUCKET, f"deltas/receipts/7f2a-1/{collection}.parquet")


def sam_invoke(event: Path, scratch: Path, settings: dict[str, str]) -> Answer:
    """Invoke the function once, in a container that SAM makes for it."""
    variables = scratch / f"{event.stem}.settings.json"
    variables.write_text(json.dumps({"Compactor": settings}))
    command = [str(SAM), "local", "invoke", "Compactor", "--template", str(WORK / "sam/template.yaml")]
    command += ["--event", str(event), "--env-vars", str(variables), "--skip-pull-image", "--region", REGION]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=WORK)
    (LOGS / f"sam-{event.stem}.log").write_text(ended.stderr + ended.stdout)
    lines = [line for line in ended.stdout.splitlines() if line.startswith(("{", "null"))]
    ensure(bool(lines), f"sam local invoke answers for {event.name} (see {LOGS}/sam-{event.stem}.log)")
    return Answer(json.loads(lines[-1]), 0.0)


# ---------------------------------------------------------------- one function, kept warm


def function(cloud: Cloud, scratch: Path) -> None:
    """Cold, warm, idle, poisoned; another writer between; too little time; too little room."""
    prepare_archive(cloud, scratch)
    archive = story.Archive()
    with Container(IMAGE, settings_for(cloud), mirror=scratch / "mirror") as warm:
        cold = deliver(cloud, warm, [archive.begin_run("1", "first.parquet")])
        initialising = warm.init_seconds() or 0
        done("cold", f"cold: {cold.seconds:.1f} s for 600 new records, of which {initialising:.1f} s to initialise")
        label = [archive.review_tag(each.package, "use::demo") for each in story.packages()[:100]]
        done("warm", f"warm: {deliver(cloud, warm, label).seconds:.2f} s for 100 labels")
        again = deliver(cloud, warm, label, published=False)
        done("nothing new", f"the same again: {again.seconds:.2f} s, nothing published")

        poisoned = story.through_queue([archive.drop_tag(story.packages()[0].package, "use::demo"), story.poison()])
        answer = warm.invoke(poisoned)
        ensure([poisoned["Records"][1]["messageId"]] == answer.failures, "only the poison message fails")
        done("poison", "a poison message fails alone")

        between = [archive.begin_run("2", "second.parquet")]
        with Container(IMAGE, settings_for(cloud), mirror=scratch / "mirror") as other:
            deliver(cloud, other, between)
        after = [archive.review_tag(each.package, "use::late") for each in story.packages()[600:610]]
        deliver(cloud, warm, after)
        done("another writer", "warm with another writer in between: both sides' changes are published")

        ensure([WORKSPACE.name] == warm.written(), f"only {WORKSPACE} is written, and not {warm.written()}")
        done("read-only root", f"the root is read-only, the user has no rights, only {WORKSPACE} was written")
    too_little_time(cloud, scratch, archive)
    too_little_room(cloud, scratch, archive)
    whole(cloud, scratch)


def prepare_archive(cloud: Cloud, scratch: Path) -> None:
    """Make the collection of the demo, and leave two deltas where embedding jobs leave theirs."""
    dimension = str(story.DIMENSION)
    command_line(cloud, scratch, str(story.MAPPING), "init", "--collection", story.COLLECTION, "--dimension", dimension)
    packages = story.packages()
    for name, part in {"first": packages[:600], "second": packages[600:700]}.items():
        delta = story.write_delta(scratch / f"{name}.parquet", part)
        cloud.client("s3").upload_file(str(delta), BUCKET, f"deltas/{name}.parquet")


def deliver(cloud: Cloud, function: Container, records: list[dict], *, published: bool = True) -> Answer:
    """Send stream records through the queue; none fails, and HEAD moves or stays."""
    before = head(cloud)
    answer = function.invoke(story.through_queue(records))
    ensure([] == answer.failures, f"no message fails: {answer.payload}")
    ensure(published == (before != head(cloud)), f"HEAD {'moves' if published else 'stays'}")
    return answer


def too_little_time(cloud: Cloud, scratch: Path, archive: story.Archive) -> None:
    """An invocation that is over before its first step hands everything back, and publishes nothing."""
    settings = {**settings_for(cloud), "CHROMA_LIFECYCLE_DEADLINE_RESERVE_SECONDS": "30"}
    event = story.through_queue([archive.review_tag("vim", "use::late")])
    before = head(cloud)
    with Container(IMAGE, settings, mirror=scratch / "mirror", timeout_seconds=20) as short:
        answer = short.invoke(event)
    ensure(answer.error is not None or len(answer.failures) == 1, f"the message comes again: {answer.payload}")
    ensure(before == head(cloud), "HEAD stays")
    done("too little time", "too little time: handed back, nothing published")


def too_little_room(cloud: Cloud, scratch: Path, archive: story.Archive) -> None:
    """A disk that cannot hold the snapshot twice is refused with a clear error; nothing is published."""
    event = story.through_queue([archive.review_tag("vim", "use::roomy")])
    before = head(cloud)
    with Container(IMAGE, settings_for(cloud), mirror=scratch / "mirror", workspace_mb=3) as small:
        answer = small.invoke(event)
    ensure(answer.error is not None or len(answer.failures) == 1, f"the message comes again: {answer.payload}")
    ensure(before == head(cloud), "HEAD stays")
    done("too little room", f"too little room: {(answer.error or 'handed back')[:100]}")


def whole(cloud: Cloud, scratch: Path) -> None:
    """The store passes the operator's own verification."""
    command_line(cloud, scratch, str(story.MAPPING), "verify", "--all", "--deep", "--collection", story.COLLECTION)
    done("verify", f"verify {STORE}: sound; deltas came from {DELTAS}")


def head(cloud: Cloud) -> str | None:
    """Return what S3 knows the collection's HEAD by."""
    return next((etag for name, etag in cloud.objects("snapshots/").items() if name.endswith("/HEAD")), None)


PARTS: dict[str, Callable[[Cloud, Path], None]] = {"function": function, "events": events}


if __name__ == "__main__":
    sys.exit(main())
