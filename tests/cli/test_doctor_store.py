"""``doctor`` on stores: the rules of a real bucket, a store that ignores conditions, facts that cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.s3 import Exchange, FaultProxy, client, fault_proxy, new_bucket, passes, says, use_server
from tests.support.world import World

ABORT = {"ID": "abort", "Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}}
NONCURRENT = {
    "ID": "old",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "NoncurrentVersionExpiration": {"NoncurrentDays": 9},
}
MARKERS = {"ID": "markers", "Status": "Enabled", "Filter": {}, "Expiration": {"ExpiredObjectDeleteMarker": True}}


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """What the command line takes for S3."""
    with fault_proxy() as running:
        use_server(monkeypatch, running.url)
        yield running


def bucket_with(*rules: dict[str, Any], versioned: bool = True, **options: Any) -> str:
    """Make a bucket with these lifecycle rules."""
    name, s3 = new_bucket(**options), client()
    if versioned:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    if rules:
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": list(rules)})
    return name


def told(cli: CommandLine, bucket: str, *options: str) -> tuple[int, list[tuple[str, str]]]:
    """Return the exit code, and each check that is not good."""
    ended = cli("doctor", f"s3://{bucket}/snapshots", "--json", *options)
    return ended.code, [(each["state"], each["text"]) for each in ended.json["checks"] if each["state"] != "good"]


def test_a_bucket_as_the_template_makes_it_is_well(empty: CommandLine, proxy: FaultProxy) -> None:
    """Versioning, unfinished uploads and noncurrent versions removed: nothing to say, and nothing was written."""
    bucket = bucket_with(ABORT, NONCURRENT, MARKERS)

    assert (0, []) == told(empty, bucket)
    assert {"GET"} == set(proxy.count())


@pytest.mark.parametrize(
    ("rule", "does"),
    [
        ({"Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}, "deletes"),
        ({"Filter": {"Prefix": "snapshots/words/"}, "Expiration": {"Days": 30}}, "deletes"),
        ({"Filter": {"Prefix": "snap"}, "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}]}, "archives"),
    ],
)
def test_a_rule_that_takes_versions_away_is_refused(
    empty: CommandLine, proxy: FaultProxy, rule: dict[str, Any], does: str
) -> None:
    """A base is old by nature: a rule that deletes or archives current objects breaks the newest version."""
    bucket = bucket_with(ABORT, NONCURRENT, {"ID": "tidy", "Status": "Enabled", **rule})

    code, [(state, text)] = told(empty, bucket)

    assert (1, "bad") == (code, state)
    assert f"'tidy' of {bucket} {does} objects of the store" in text


@pytest.mark.parametrize(
    "rule",
    [
        {"Filter": {"Prefix": "deltas/"}, "Expiration": {"Days": 30}},
        {"Filter": {"Prefix": "snapshots-of-others"}, "Expiration": {"Days": 30}},
        {"Filter": {"Tag": {"Key": "tidy", "Value": "yes"}}, "Expiration": {"Days": 30}},
        {"Filter": {}, "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}]},
    ],
)
def test_a_rule_about_other_objects_is_none_of_its_business(
    empty: CommandLine, proxy: FaultProxy, rule: dict[str, Any]
) -> None:
    """Another prefix, a tag that no object of ours has, a storage class that can be read."""
    assert (0, []) == told(empty, bucket_with(ABORT, NONCURRENT, {"ID": "tidy", "Status": "Enabled", **rule}))


def test_a_rule_that_is_switched_off_takes_nothing_away(empty: CommandLine, proxy: FaultProxy) -> None:
    """And one that would be of use is of none."""
    off = {"ID": "tidy", "Status": "Disabled", "Filter": {}, "Expiration": {"Days": 30}}

    code, found = told(empty, bucket_with({**ABORT, "Status": "Disabled"}, NONCURRENT, off))

    assert (0, ["look"]) == (code, [state for state, _ in found])
    assert "never finished" in found[0][1]


def test_what_a_plain_bucket_lacks_is_asked_for(empty: CommandLine, proxy: FaultProxy) -> None:
    """No rule at all, no versioning; with versioning, noncurrent versions pile up."""
    code, found = told(empty, bucket_with(versioned=False))
    assert (0, ["look", "look"]) == (code, [state for state, _ in found])
    assert ["never finished" in found[0][1], "older versions" in found[1][1]] == [True, True]

    _, found = told(empty, bucket_with(ABORT))
    assert ["removes noncurrent versions" in text for _, text in found] == [True]


def test_object_lock_makes_erasure_impossible(empty: CommandLine, proxy: FaultProxy) -> None:
    """It is said before anybody has promised to forget somebody."""
    bucket = bucket_with(ABORT, NONCURRENT, ObjectLockEnabledForBucket=True)

    code, [(state, text)] = told(empty, bucket)

    assert (0, "look", True) == (code, state, "cannot be erased" in text)


def test_without_the_right_to_list_a_missing_key_looks_forbidden(empty: CommandLine, proxy: FaultProxy) -> None:
    """S3 answers 403 then, and nothing could be begun."""
    bucket = bucket_with(ABORT, NONCURRENT)
    proxy.on("GET", "/HEAD", says(403, "AccessDenied"))

    code, [(state, text)] = told(empty, bucket)

    assert (1, "bad", True) == (code, state, "'forbidden'" in text)


def test_what_may_not_be_looked_at_is_named_and_not_called_missing(empty: CommandLine, proxy: FaultProxy) -> None:
    """Without the permission there is no advice on what may be there."""
    bucket = bucket_with(ABORT, NONCURRENT)
    for part in ("?lifecycle", "?versioning"):
        proxy.always("GET", part, says(403, "AccessDenied"))

    code, [(state, text)] = told(empty, bucket)

    assert (0, "look") == (code, state)
    assert "s3:GetLifecycleConfiguration and s3:GetBucketVersioning" in text


def test_a_trial_leaves_nothing_behind(empty: CommandLine, proxy: FaultProxy) -> None:
    """A real server refuses both, and no version of what was written is left."""
    bucket = bucket_with(ABORT, NONCURRENT)

    assert (0, []) == told(empty, bucket, "--trial")

    assert 4 == proxy.count("doctor-")["PUT"]
    left = client().list_object_versions(Bucket=bucket)
    assert ([], []) == (left.get("Versions", []), left.get("DeleteMarkers", []))


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_a_store_that_ignores_conditions_is_found_out(empty: CommandLine, proxy: FaultProxy, header: str) -> None:
    """Some take the header and overwrite all the same: nothing else would show it before an update is lost."""

    def forgets(exchange: Exchange) -> None:
        del exchange.handler.headers[header]
        passes(exchange)

    proxy.always("PUT", "doctor-", forgets)
    bucket = bucket_with(ABORT, NONCURRENT)

    code, [(state, text)] = told(empty, bucket, "--trial")

    assert (1, "bad", True) == (code, state, "does not keep to them" in text)
    assert "Contents" not in client().list_objects_v2(Bucket=bucket)


def test_a_directory_is_tried_too(empty: CommandLine) -> None:
    """The store of the current directory, by its variable; nothing stays."""
    (empty.home / "store").mkdir()
    empty.monkeypatch.setenv("CHROMA_LIFECYCLE_STORE", "store")

    ended = empty("doctor", "--trial")

    assert (0, "good: store compares before it writes: of two writers, one is refused.\n") == (ended.code, ended.out)
    assert [] == list((empty.home / "store").iterdir())


def test_messages_beside_stream_records_are_warned_of(tmp_path: Path, empty: CommandLine) -> None:
    """An older stream record beats a newer message of the same item; either kind alone is well."""
    world = World(tmp_path / "world").begin()
    options = ("doctor", "--store", world.settings.store, "--mapping", "receipts", "--json")
    events = Path(__file__).parents[2] / "events"

    for file, states in [("ok-sqs-flat", ["good"]), ("ok-sqs-place", ["look"])]:
        with world.compactor() as machine:
            machine.compact(json.loads((events / f"{file}.json").read_text()), None)
        told = empty(*options, "--collection", "words").json["checks"]
        assert states == [each["state"] for each in told]
    assert "flat messages" in told[0]["text"]


def test_a_mapping_that_orders_to_the_second_is_told(empty: CommandLine) -> None:
    """And a collection that is not begun is no error: the rest is told all the same."""
    (empty.home / "store").mkdir()
    text = (empty.home / "notes.yaml").read_text()
    (empty.home / "loose.yaml").write_text(text.replace("mapping: 1\n", "mapping: 1\nordering: to_the_second\n"))

    found = empty("doctor", "--store", "store", "--mapping", "loose.yaml", "--json").json["checks"]

    assert ["look", "look"] == [each["state"] for each in found]
    assert ("to the second" in found[0]["text"], "notes" in found[1]["text"]) == (True, True)


def test_nothing_to_examine_is_bad_input(empty: CommandLine) -> None:
    """Neither a subject nor a store."""
    ended = empty("doctor")
    assert (2, True) == (ended.code, "what is to be examined?" in ended.err)


def test_a_directory_that_is_not_there_is_told(empty: CommandLine) -> None:
    """With a way out, and it is not made."""
    ended = empty("doctor", "--trial", "--store", "nowhere")
    assert (2, False) == (ended.code, (empty.home / "nowhere").exists())
    assert "there is no directory nowhere" in ended.err


def test_a_bucket_that_is_not_there_is_told(empty: CommandLine, proxy: FaultProxy) -> None:
    """By its own name, and with no advice on its rules."""
    ended = empty("doctor", "s3://no-such-bucket-anywhere")
    assert (3, True) == (ended.code, "there is no bucket" in ended.err)
