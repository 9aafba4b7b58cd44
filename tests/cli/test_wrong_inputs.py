"""What each command says when something is wrong: one error, a way out, an exit code, and nothing changed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from chroma_lifecycle.snapshot.workspace import Workspace
from tests.support.command_line import WITH, CommandLine, Ended
from tests.support.mounts import mounted

READERS = [["log"], ["show"], ["diff"], ["verify"], ["restore", "--to", "out"], ["query", "--id", "x"]]


def assert_refused(ended: Ended, code: int, *parts: str) -> None:
    """One error and one hint on standard error, nothing on standard output."""
    lines = ended.err.splitlines()
    assert (code, "", ["error:", "hint:"]) == (ended.code, ended.out, [line.split()[0] for line in lines]), ended
    for part in parts:
        assert part in ended.err


def no_store(home: Path) -> None:
    shutil.rmtree(home / "store")


def no_head(home: Path) -> None:
    (home / "store/notes/HEAD").unlink()
    shutil.rmtree(home / "store/notes/heads")


def torn_head(home: Path) -> None:
    for head in [home / "store/notes/HEAD", *(home / "store/notes/heads").iterdir()]:
        head.write_text(head.read_text()[:40])


def dangling_head(home: Path) -> None:
    shutil.rmtree(home / "store/notes/manifests")


BROKEN: list[tuple[Callable[[Path], None], int, str]] = [
    (no_store, 3, "there is no directory store"),
    (no_head, 2, "collection notes has no HEAD in store"),
    (torn_head, 4, "HEAD"),
    (dangling_head, 4, "HEAD of notes names notes/manifests/0000000000000003-"),
]


@pytest.mark.parametrize("command", [*READERS, ["compact"]], ids=lambda command: command[0])
@pytest.mark.parametrize(("break_it", "code", "text"), BROKEN, ids=lambda each: getattr(each, "__name__", ""))
def test_without_a_sound_head_every_command_says_so(
    cli: CommandLine, command: list[str], break_it: Callable[[Path], None], code: int, text: str
) -> None:
    """L13: HEAD absent, unreadable or dangling, or no store at all: a clear error, and nothing is written."""
    break_it(cli.home)
    before = cli.contents()

    ended = cli.compact("first.json") if command == ["compact"] else cli.at(*command)

    if (command, break_it) == (["verify"], dangling_head):
        assert (code, True) == (ended.code, "\ndamaged: notes/manifests/0000000000000003-" in ended.out)
    else:
        assert_refused(ended, code, text)
    assert before == cli.contents()
    assert not (cli.home / "out").exists()


STORES_ONLY = {
    **{name: name for name in ("status", "sweep", "rebase --workspace w", "rebuild --workspace w", "diff", "pin p")},
    "mirror": "mirror --mirror mirror",
    "export": "export --to out",
    "report": "report -o out",
    "move": "move --to out",
    "copy": "copy --to out",
    "rollback": "rollback 1 --workspace w",
    "erase": "erase x --workspace w",
    "explain": "explain x --mapping notes.yaml",
    "reapply": "reapply --mapping notes.yaml --workspace w",
    "unpin": "unpin p",
    "expire": "expire --keep 1",
}


@pytest.mark.parametrize(("break_it", "code"), [(no_head, 2), (torn_head, 4)])
def test_no_command_makes_a_head(cli: CommandLine, break_it: Callable[[Path], None], code: int) -> None:
    """L13: whatever is asked of a collection without a sound HEAD: one error, a way out, and nothing written."""
    break_it(cli.home)
    (cli.home / "mirror").mkdir()
    before = cli.contents()

    for line in STORES_ONLY.values():
        assert_refused(cli.at(*line.split()), code, "HEAD")
        assert before == cli.contents()
    assert not (cli.home / "out").exists()


def test_a_store_that_was_never_begun_is_not_begun_by_a_cycle(cli: CommandLine) -> None:
    """L25: a compactor with another store than the one that was begun fails loudly; nothing appears there."""
    (cli.home / "elsewhere").mkdir()

    ended = cli("compact", "--store", "elsewhere", *WITH[2:], "first.json")

    assert_refused(ended, 2, "collection notes has no HEAD in elsewhere", "chroma-lifecycle init")
    assert [] == list((cli.home / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("none.json", "without a record"),
        ("http.json", "an object with 'version', 'routeKey'"),
        ("torn.json", "torn.json is no event: not JSON"),
        ("nowhere.json", "nowhere.json cannot be read: No such file or directory"),
        ("deltas", "deltas cannot be read: Is a directory"),
    ],
)
def test_an_event_that_is_none_fails_whole(cli: CommandLine, event: str, text: str) -> None:
    """No message at all, another source's event, a torn file: exit 2, and nothing is published."""
    before = cli.contents()

    assert_refused(cli.compact(event), 2, text)
    assert before == cli.contents()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("null", "compacted: null;"),
        ('"x"', "compacted: a text;"),
        ('{"Records": [{}]}', "compacted: without an eventSource;"),
        ('{"Records": [null]}', "compacted: with null as a record;"),
        ('{"Records": [{"eventSource": "aws:s3"}]}', "compacted: of event source 'aws:s3';"),
        ('{"Records": [{"eventSource": "aws:sqs"}]}', "has no messageId"),
    ],
)
def test_what_is_no_event_is_named_by_its_file_in_words_of_json(cli: CommandLine, text: str, found: str) -> None:
    """Among several files it is the one to mend, for `compact` and for `mapping check`."""
    (cli.home / "odd.json").write_text(text)
    dry = cli.compact("other.json", "odd.json", "--dry-run")

    assert_refused(cli.compact("odd.json"), 2, "error: odd.json: ", found)
    assert_refused(cli("mapping", "check", "notes.yaml", "other.json", "odd.json"), 2, "error: odd.json: ", found)
    assert (2, True) == (dry.code, "error: odd.json: " in dry.err)


def test_a_misspelt_file_stops_all_before_anything_is_published(cli: CommandLine) -> None:
    """Event files are read first; none of them is compacted when one cannot be read."""
    before = cli.contents()

    assert_refused(cli.compact("four.json", "first.json", "frist.json"), 2, "frist.json")
    assert before == cli.contents()


@pytest.mark.parametrize(("as_json", "told"), [(False, "second.json: 2 received"), (True, '"event": "second.json"')])
def test_what_was_published_is_told_even_if_a_later_file_fails(empty: CommandLine, as_json: bool, told: str) -> None:
    """The report of a batch does not wait for the next one."""
    empty("init", *WITH[:6], "--dimension", "3")

    ended = empty.compact("second.json", "none.json", *(["--json"] if as_json else []))

    assert 2 == ended.code
    assert told in ended.out
    assert "without a record" in ended.err


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("missing.json", "there is no delta at 'missing.parquet'"),
        ("four.json", "delta 'of-four.parquet': record 1 ('USER#u#NOTE#a') has a vector of 4 numbers"),
    ],
)
def test_a_delta_that_cannot_be_merged_fails_its_message(cli: CommandLine, event: str, text: str) -> None:
    """A missing delta, another dimension: the message is named, with a hint; exit 1, and nothing is published."""
    before = cli.contents()

    ended = cli.compact(event)

    assert (1, "") == (ended.code, ended.err)
    told = next(line for line in ended.out.splitlines() if line.startswith("  failed: "))
    assert re.fullmatch(r"  failed: message-0 in notes \(rule \w+, item .+\): " + re.escape(text) + ".*", told)
    assert "    hint: " in ended.out
    assert before == cli.contents()


def test_many_failures_are_cut_for_people_and_whole_for_programs(cli: CommandLine) -> None:
    """A screen holds twenty; --json names all of them."""
    [record] = json.loads((cli.home / "missing.json").read_text())["Records"]
    event = json.dumps({"Records": [{**record, "messageId": f"m{at}", "body": "{"} for at in range(25)]})

    shown, told = cli.compact("-", stdin=event), cli.compact("-", "--json", stdin=event)

    assert (1, 20) == (shown.code, shown.out.count("failed: m"))
    assert "... and 5 more failures" in shown.out
    assert 25 == len(told.json[0]["failures"])


def test_all_problems_of_a_mapping_are_told_together(cli: CommandLine) -> None:
    """Each with its line; a mapping that is wrong publishes nothing."""
    text = (cli.home / "notes.yaml").read_text()
    (cli.home / "wrong.yaml").write_text(text.replace("notes: {delta", "note: {delta").replace("set:", "sett:"))

    for ended in (
        cli("mapping", "check", "wrong.yaml"),
        cli("compact", "--store", "store", "--mapping", "wrong.yaml", "first.json"),
    ):
        assert (2, "") == (ended.code, ended.out)
        assert "wrong.yaml" in ended.err
        assert "did you mean 'notes'?" in ended.err
        assert "did you mean 'set'?" in ended.err


def test_another_mapping_than_the_published_one_is_refused(cli: CommandLine) -> None:
    """Facts of two mappings do not join; the way out is told."""
    text = (cli.home / "notes.yaml").read_text()
    (cli.home / "notes.yaml").write_text(text.replace("[title, folder]", "[title]"))

    assert_refused(cli.compact("first.json"), 2, "was made under the mapping", "go back to the mapping")


MISUSED: list[tuple[list[str], str]] = [
    (["lgo"], "Did you mean 'log'?"),
    (["log", "--stor", "x"], "--store"),
    (["log"], "Missing option '--store'"),
    (["log", "--store", "store"], "which collection is meant?"),
    (["log", "--store", "", "-c", "notes"], "the address of a store is empty"),
    (["log", "--store", "s3:/bucket/x", "-c", "notes"], "write s3://bucket/prefix"),
    (["mapping", "new", "items.json", "--name", "a"], "--name: a collection's name must be"),
    (
        ["upload", "--to", "http://localhost:1", "--store", "store", "-c", "notes", "--name", "x"],
        "--name: a collection",
    ),
    (["bulk", "reshard", "--store", "store", "--mapping", "notes.yaml", "--undo", "--shards", "3"], "leave --shards"),
    (
        ["init", "--store", "new", "-c", "other", "--mapping", "notes.yaml", "--dimension", "3"],
        "it has notes; no event",
    ),
    (["init", "--store", "new", "-c", "other", "--mapping", "notes.yaml", "--from", "x"], "it has notes; no event"),
    (["plan", "--vectors", "1", "--dimension", "3", "--prices", "nowhere.json"], "nowhere.json cannot be read"),
    (["plan", "--vectors", "1", "--dimension", "3", "--prices", "deltas"], "deltas cannot be read"),
    (["plan", "--vectors", "1", "--dimension", "3", "--changes-per-second", "inf"], "from 0 to 1e+15"),
    (["plan", "--vectors", "1" + 400 * "0", "--dimension", "3"], "from 1 to 1e+15"),
    (["plan", "--vectors", "9", "--dimension", "3", "--memory", "1"], "more memory (--memory)"),
    (["plan", "--vectors", "9", "--dimension", "3", "--disk", "1"], "more disk (--disk)"),
    (["plan", "--vectors", "9", "--dimension", "3", "--changes-per-second", "1e14"], "for longer (--window)"),
    (["log", "--store", "file:x", "-c", "notes"], "write s3://bucket/prefix, or the path of a directory"),
    (["log", "--store", "s3://x/y", "-c", "notes"], "a bucket has 3 to 63"),
    (["log", "--store", "store", "-c", "a b"], "a collection's name must be"),
    (["log", "--store", "store", "-c", "notes", "-n", "0"], "'--limit'"),
    (["show", "--store", "store", "-c", "notes", "--version", "x"], "'--version'"),
    (["show", "--store", "store", "-c", "notes", "--version", "9"], "version 9 of notes is not there"),
    (["init", "--store", "store", "-c", "notes", "--dimension", "3"], "already initialised"),
    (["init", "--store", "new", "-c", "notes"], "--dimension"),
    (["init", "--store", "new", "-c", "notes", "--dimension", "0"], "'--dimension'"),
    (["init", "--store", "new", "-c", "notes", "--dimension", "3", "--space", "cosin"], "not one of 'cosine'"),
    (["compact", *WITH], "Missing argument"),
    (["restore", "--store", "store", "-c", "notes"], "Missing option '--to'"),
    (["query", "--store", "store", "-c", "notes"], "asks by id or by vector"),
    (["query", "--store", "store", "-c", "notes", "--id", "x", "--vector", "[1]"], "asks by id or by vector"),
    (["query", "--store", "store", "-c", "notes", "--id"], "requires an argument"),
    (["query", "--store", "store", "-c", "notes", "--id", "x", "--where", "{}"], "--where filters"),
    (["query", "--store", "store", "-c", "notes", "--vector", "[1,"], "--vector cannot be read"),
    (["query", "--store", "store", "-c", "notes", "--vector", "[NaN, 1, 1]"], "--vector cannot be read"),
    (["query", "--store", "store", "-c", "notes", "--vector", "@nowhere"], "--vector cannot be read"),
    (["query", "--store", "store", "-c", "notes", "--vector", "[1e39, 1, 1]"], "32 bits"),
    (["query", "--store", "store", "-c", "notes", "--vector", "[true, 1, 1]"], "32 bits"),
    (["query", "--store", "store", "-c", "notes", "--vector", "[]"], "notes has 3 dimensions"),
    (["query", "--store", "store", "-c", "notes", "--vector", "[1, 1]"], "notes has 3 dimensions"),
    (["query", "--store", "store", "-c", "notes", "--vector", "[1, 1, 1]", "--where", "[]"], "no JSON object"),
    (["query", "--store", "store", "-c", "notes", "--vector", "[1, 1, 1]", "--where", '{"a": {"$b": 1}}'], "$gte"),
    (["mapping", "check", "receipt"], "did you mean 'receipts'?"),
    (["mapping", "check", "nowhere.yaml"], "No such file"),
]


@pytest.mark.parametrize(("arguments", "text"), MISUSED, ids=lambda each: " ".join(each)[:60])
def test_a_mistake_is_named_with_the_way_out(cli: CommandLine, arguments: list[str], text: str) -> None:
    """Exit 2, one error, one hint, nothing changed; the same as JSON where JSON was asked for."""
    before = cli.contents()

    assert_refused(cli(*arguments), 2, text)
    as_json = json.loads(cli(*arguments, "--json").err)["error"] if arguments[-1] != "--id" else {"message": text}
    assert text in as_json["message"] + as_json.get("hint", "")
    assert before == cli.contents()
    assert not (cli.home / "new").exists()


TOO_LARGE: list[tuple[list[str], str]] = [
    *(
        ([*line.split(), "--version", str(1 << 64)], f"{(1 << 64) - 1}")
        for line in (
            "show",
            "pin p",
            "restore --to new",
            "export --to new",
            "query --id x",
            "explain x --mapping notes.yaml",
        )
    ),
    (["rollback", str(1 << 64)], f"{(1 << 64) - 1}"),
    *(
        ([*line.split(), "-n", str(1 << 31)], f"{(1 << 31) - 1}")
        for line in ("log", "diff", "report -o new", "query --vector [1,1,1]")
    ),
    *(([*line.split(), "--dimension", "65537"], "65536") for line in ("init", "rebuild --vectors deltas")),
    (["expire", "--older-than", "999999d"], "at most 36500d"),
    (["sweep", "--grace", "36501d"], "at most 36500d"),
    (["restore", "--to", "new", "--at", "0001-01-01T00:00+01:00"], "is no time"),
    (["restore", "--to", "new", "--at", "9999-12-31T23:00-01:30"], "is no time"),
]


@pytest.mark.parametrize(("arguments", "bound"), TOO_LARGE, ids=lambda each: " ".join(each)[:60])
def test_a_number_that_is_too_large_is_bad_input(cli: CommandLine, arguments: list[str], bound: str) -> None:
    """Exit 2 where numbers are read, with the bound; and no defect where they are used."""
    assert_refused(cli.at(*arguments), 2, bound)
    assert not (cli.home / "new").exists()


@pytest.mark.parametrize(
    ("address", "way"),
    [
        ("file:///tmp/x", "/tmp/x for that directory"),
        ("gs://bucket/x", "write s3://bucket/prefix"),
        ("AZ://x", "write s3://bucket/prefix"),
        ("~/x", "write the whole path, or ./~/x"),
        ("notes.yaml", "is a file, and no directory"),
    ],
)
def test_what_is_no_store_becomes_no_directory(cli: CommandLine, address: str, way: str) -> None:
    """An address of another kind, a ~ that no shell has seen, a file: exit 2 for every place, and nothing is made."""
    before = sorted(cli.home.rglob("*"))
    compact = ("compact", "--mapping", "notes.yaml", "first.json", "--workspace", "workspace", "--store")

    for line in (
        ["init", "--store", address, "-c", "notes", "--dimension", "3", "--workspace", "workspace"],
        ["log", "--store", address, "-c", "notes"],
        *([line, "--to", address, "--store", "store", "-c", "notes"] for line in ("move", "copy")),
        *([["export", "--to", address, "--store", "store", "-c", "notes"]] if address != "notes.yaml" else []),
    ):
        assert_refused(cli(*line), 2, address, way)
    mirror = address if address.startswith("~") else "a mirror is a mounted directory"
    assert_refused(cli(*compact, "store", "--mirror", address), 2, address, mirror)
    if address != "notes.yaml":
        for line in (
            [*compact, "store", "--deltas", address],
            [*compact, "store", "--workspace", address],
            ["restore", "--to", address, "--store", "store", "-c", "notes"],
            ["report", "-o", address, "--store", "store", "-c", "notes"],
            ["mapping", "new", "items.json", "--name", "notes", "-o", address],
        ):
            assert 2 == cli(*line).code, line
    assert before == sorted(cli.home.rglob("*"))


def test_a_directory_can_have_a_name_that_looks_like_another_place(empty: CommandLine) -> None:
    """./~ is what the hint says: a directory of that name."""
    assert 0 == empty("init", "--store", "./~", *WITH[2:6], "--dimension", "3").code
    assert (empty.home / "~/notes/HEAD").is_file()


@pytest.mark.parametrize("mirror", ["store", "./store/", "deltas/../store", "s3://bucket/store"])
def test_a_mirror_is_another_directory_than_the_store(cli: CommandLine, mirror: str) -> None:
    """The store itself, however it is spelled, or a bucket: exit 2, and nothing is published."""
    before = cli.contents()

    assert_refused(cli.compact("third.json", "--mirror", mirror), 2, "mirror", "--mirror")
    assert_refused(cli.at("mirror", "--mirror", mirror), 2, "mirror", "--mirror")
    assert before == cli.contents()


def test_nothing_given_shows_the_help(empty: CommandLine) -> None:
    """A bare call is no error to decipher: it lists the commands; so does a bare group."""
    bare, group = empty(), empty("mapping")

    assert (2, 2) == (bare.code, group.code)
    assert "compact" in bare.err
    assert "check" in group.err


@pytest.mark.parametrize("variable", ["TABEL", "TAIL_BUDGET"])
def test_variables_that_are_wrong_are_told(cli: CommandLine, variable: str) -> None:
    """A misspelt variable is not passed over in silence."""
    cli.monkeypatch.setenv(f"CHROMA_LIFECYCLE_{variable}", "x")

    assert_refused(cli.compact("first.json"), 2, f"CHROMA_LIFECYCLE_{variable}")


def test_a_target_that_holds_something_is_left_alone(cli: CommandLine) -> None:
    """restore gives a new directory; it replaces none. An empty one is as good as new."""
    (cli.home / "out").mkdir()
    (cli.home / "out" / "mine").write_text("mine")
    (cli.home / "void").mkdir()

    assert_refused(cli.at("restore", "--to", "out"), 2, "out is not empty", "give the path of a new directory")
    (cli.home / "link").symlink_to("nowhere")
    assert_refused(cli.at("restore", "--to", "notes.yaml"), 2, "notes.yaml")
    assert_refused(cli.at("restore", "--to", "link"), 2, "link is a link to nowhere")
    assert {"out/mine": b"mine"} == cli.contents("out")
    assert 0 == cli.at("restore", "--to", "void").code


def test_a_place_that_cannot_be_written_is_named_with_its_option(cli: CommandLine) -> None:
    """A workspace below a file, a target below a file: exit 2; the hint names the option that is wrong."""
    workspace = cli(
        "compact", "--store", "store", "--mapping", "notes.yaml", "--workspace", "torn.json/x", "first.json"
    )
    target = cli.at("restore", "--to", "torn.json/x")

    assert_refused(workspace, 2, "torn.json/x", "--workspace")
    assert_refused(target, 2, "torn.json cannot be used (File exists)", "--to")


def test_a_workspace_in_use_is_refused_by_its_holder(cli: CommandLine) -> None:
    """Exit 5: who has it, and since when."""
    with Workspace.open(cli.home / "workspace" / "notes"):
        assert_refused(cli.compact("first.json"), 5, "is in use by process", "--workspace")
    assert 0 == cli.compact("first.json").code


def flip_the_base(home: Path) -> str:
    path = max((home / "store/notes/objects").rglob("*"), key=lambda each: each.stat().st_size * each.is_file())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path.name


@pytest.mark.parametrize("command", [["restore", "--to", "out"], ["query", "--id", "x"], ["compact"]])
def test_a_damaged_object_is_found_before_anybody_opens_it(cli: CommandLine, command: list[str]) -> None:
    """C3, exit 4: the object is named, and nothing half-restored is left."""
    name = flip_the_base(cli.home)

    ended = cli.compact("first.json") if command == ["compact"] else cli.at(*command)

    assert_refused(ended, 4, name)
    assert not (cli.home / "out").exists()
    assert [] == [path.name for path in cli.home.iterdir() if path.name.startswith(".")]


def test_verify_lists_the_damage(cli: CommandLine) -> None:
    """Exit 4: which object, and what to do; the same in JSON."""
    name = flip_the_base(cli.home)

    ended, value = cli.at("verify"), cli.at("verify", "--json")

    assert (4, 4) == (ended.code, value.code)
    assert name in ended.out
    assert "hint: " in ended.out
    assert [name] == [damaged.rpartition("/")[2] for damaged in value.json["stored"]["damage"]]


def test_s3_without_credentials_is_told_how_to_get_some(empty: CommandLine) -> None:
    """Exit 3: the SDK's own variables are named, and what shows whether they are right."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        empty.monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        empty.monkeypatch.setenv(name, str(empty.home / "nowhere"))
    empty.monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    empty.monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")

    assert_refused(empty.at("log", store="s3://bucket/prefix"), 3, "Unable to locate credentials", "AWS_PROFILE")


def test_a_full_disk_costs_nothing_but_the_run(cli: CommandLine) -> None:
    """C15, S4, exit 3: workspace, target and temporary files on a full disk are refused with the numbers."""
    before = cli.contents()
    with mounted(cli.home / "small", "size=100k") as small:
        cli.monkeypatch.setattr("tempfile.tempdir", str(small))
        refused = {
            "--workspace": cli("compact", *WITH[:4], "--deltas", "deltas", "--workspace", "small/w", "first.json"),
            "--to": cli.at("restore", "--to", "small/out"),
            "TMPDIR": cli.at("query", "--id", "x"),
        }
        left = [path for path in small.rglob("*") if path.is_file() and path.name not in ("lock",)]

    for way_out, ended in refused.items():
        assert_refused(ended, 3, way_out, "bytes are missing")
    assert ([], before) == (left, cli.contents())


def test_a_file_that_a_full_disk_cannot_take_is_named_and_not_begun(cli: CommandLine) -> None:
    """Exit 3, the file's name, what can be done there, and nothing of it is left."""
    (cli.home / "items.json").write_text('[{"PK": "A#1", "SK": "B#1", "title": "x"}]')
    with mounted(cli.home / "small", "size=4k") as small:
        (small / "filler").write_bytes(bytes(4096))
        refused = {
            "r.html": cli.at("report", "-o", "small/r.html"),
            "m.yaml": cli("mapping", "new", "items.json", "-o", "small/m.yaml"),
            "d.jsonl": cli("delta", "convert", "deltas/run-1.parquet", "small/d.jsonl"),
        }
        left = [path.name for path in small.iterdir()]

    for name, ended in refused.items():
        assert_refused(ended, 3, f"small/{name}", "on another disk")
    assert ["filler"] == left


def test_a_full_store_is_told_and_keeps_its_version(empty: CommandLine) -> None:
    """C15: the store's disk is full in the middle of publishing: exit 3, and the old version is whole."""
    with mounted(empty.home / "small", "size=60k"):
        begun = empty("init", "--store", "small/s", *WITH[2:6], "--dimension", "3")
        room = (empty.home / "small" / "filler").open("wb")
        with pytest.raises(OSError, match="No space"), room:
            while True:
                room.write(bytes(4096))
                room.flush()
        ended = empty("compact", "--store", "small/s", *WITH[2:], "first.json")
        verified = empty.at("verify", store="small/s")

    assert 0 == begun.code
    assert_refused(ended, 3, "No space left")
    assert (0, "notes version 1") == (verified.code, verified.out.partition(":")[0])


def test_a_store_that_is_read_only_is_told(cli: CommandLine) -> None:
    """Reading it works, and what would be swept is told; publishing says that it is mounted so, exit 3."""
    with mounted(cli.home / "fixed", "size=2m") as fixed:
        shutil.copytree(cli.home / "store", fixed / "store")
        subprocess.run(["mount", "-o", "remount,ro", str(fixed)], check=True)
        read = [cli.at(command, store="fixed/store") for command in ("log", "status", "sweep", "doctor")]
        written = cli("init", "--store", "fixed/store", "-c", "other", "--dimension", "3", "--workspace", "workspace")

    assert [0] * 4 == [each.code for each in read], [each.err for each in read]
    assert_refused(written, 3, "fixed/store", "it is mounted read-only")


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (ValueError("SECRET"), 70, "ValueError in"),
        (PermissionError(13, "Permission denied", "/some/file"), 3, "/some/file: Permission denied"),
    ],
)
def test_a_defect_ends_in_one_error_too(cli: CommandLine, raised: Exception, code: int, text: str) -> None:
    """What nobody foresaw is told by its place, not by its text, which may quote records."""

    def fail(*_: object, **__: object) -> None:
        raise raised

    cli.monkeypatch.setattr("chroma_lifecycle.cli.versions.walk", fail)

    ended = cli.at("log")

    assert_refused(ended, code, text)
    assert "SECRET" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a rollback goes back to one version"),
        (["2", "--at", "2026-01-01"], "a rollback goes back to one version"),
        (["--at", "yesterday"], "yesterday"),
        (["--at", "2001-01-01"], "no version of notes that is there is as old as 2001-01-01 23:59:59 UTC"),
        (["3"], "version 3 of notes is the newest already"),
        (["77"], "version 77 of notes is not there: versions 1 to 3 are"),
        (["0"], "greater than or equal to 1"),
    ],
)
def test_a_rollback_to_no_version_is_refused(cli: CommandLine, arguments: list[str], message: str) -> None:
    """Exit 2, a hint, and the store keeps its bytes."""
    before = cli.contents()

    ended = cli.at("rollback", *arguments, "--workspace", "workspace")

    assert (2, "") == (ended.code, ended.out)
    assert message in ended.err
    assert "hint:" in ended.err
    assert before == cli.contents()


def test_reapplying_needs_the_mapping_of_the_collection(cli: CommandLine) -> None:
    """Another mapping is refused with what differs; a collection that it lacks as well."""
    (cli.home / "other.yaml").write_text((cli.home / "notes.yaml").read_text().replace("[title, folder]", "[title]"))
    given = ("--store", "store", "--workspace", "workspace")

    other = cli("reapply", *given, "--mapping", "other.yaml")
    unknown = cli("reapply", *given, "--mapping", "notes.yaml", "--collection", "else")

    assert (2, 2) == (other.code, unknown.code)
    assert "was made under the mapping" in other.err
    assert "go back to the mapping" in other.err
    assert "the mapping has no collection else: it has notes" in unknown.err
