"""A new base: the same content with fewer bytes to read, landed whatever others publish meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.errors import Corrupt, HeadMoved, NoTime, Retryable, StoreUnavailable
from chroma_lifecycle.publishing import swap
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.rebase import rebase
from chroma_lifecycle.publishing.restore import Way, bring_forward
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.snapshot.names import Names
from tests.support.snapshots import COLLECTION, Site, facts, files_of
from tests.support.stores import FaultyStore, after
from tests.support.watching import WatchedStore, whole_store

NAMES = Names(COLLECTION)
MakeSite = Callable[..., Site]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_PAUSES_SECONDS", (0.0, 0.0))


@pytest.fixture
def site(site: Site) -> Site:
    """Three versions: a base and two packs."""
    site.cycle(fact="2", label="A")
    site.cycle(fact="3", label="B")
    return site


def rebased(site: Site, onto: Published | None = None, *, deadline: Deadline | None = None) -> Published:
    return rebase(
        site.workspace,
        onto or site.restore(),
        store=site.store,
        deadline=deadline or Deadline(),
        clock=site.clock,
        writer=site.writer,
    )


def test_a_new_base_is_a_version_of_the_same_content(site: Site, make_site: MakeSite) -> None:
    """Its chain has no packs; a reader restores the same bytes from it."""
    before = site.restore().manifest

    after = rebased(site).manifest

    assert (before.content, ()) == (after.content, after.chain.packs)
    assert ("rebase", 4) == (after.details.summary.action, after.version.number)
    assert before.details.counts == after.details.counts
    other = make_site("other")
    other.restore()
    assert files_of(site.workspace.pristine.root) == files_of(other.workspace.pristine.root)
    assert not verify_store(read_published(site.store, COLLECTION), site.store, every_version=True).damage


def test_parts_that_did_not_change_keep_their_names(site: Site) -> None:
    """Only what the packs touched is sent: the HNSW files are not."""
    before = site.restore().manifest.chain.base
    stored = whole_store(Path(site.store.address))

    after = rebased(site).manifest

    new = {name for name in whole_store(Path(site.store.address)).keys() - stored.keys() if "/objects/" in name}
    assert new == {part.object for part in after.chain.base.parts} - {part.object for part in before.parts}
    assert 0 < len(new) < len([*after.chain.base.parts]) - 2
    assert after.stored_bytes == sum(part.stored_bytes for part in after.chain.base.parts if part.object in new)


def test_the_workspace_that_made_it_stays_warm_and_others_need_the_manifest_alone(
    site: Site, make_site: MakeSite
) -> None:
    """No byte of a copy moves for a new base."""
    other = make_site("other")
    other.restore()
    rebased(site)

    for each, way in ((site, Way.WARM), (other, Way.RELABELLED)):
        published = read_published(each.store, COLLECTION, local=each.workspace.pristine.version())
        assert way == bring_forward(each.workspace, published, each.store, None, Deadline()).way


def test_a_busy_collection_cannot_starve_it(site: Site, make_site: MakeSite) -> None:
    """A base of an older content is landed on the newer HEAD, with the packs since."""
    other = make_site("other")
    other.restore()
    inner = site.store
    busy = [after(lambda: other.cycle(fact="4")), after(lambda: other.cycle(fact="5", label="C"))]
    site.store = FaultyStore(inner, swaps=busy)

    manifest = rebased(site).manifest

    site.store = inner
    assert 6 == manifest.version.number
    assert 2 == len(manifest.chain.packs)
    assert manifest.content == other.restore().manifest.content
    assert not verify_store(read_published(inner, COLLECTION), inner).damage
    site.restore()
    assert {"2", "3", "4", "5"} == facts(site.workspace.pristine.root).keys()
    assert files_of(other.workspace.pristine.root) == files_of(site.workspace.pristine.root)


def test_after_a_sweep_the_base_is_sent_again(site: Site) -> None:
    """Names of an older era that nobody retains may be condemned already."""
    inner = site.store

    def fence() -> None:
        amend_head(inner, COLLECTION, lambda head: replace(head, sweeps=head.sweeps + 1), writer="sweep")

    before = {part.object for part in site.restore().manifest.chain.base.parts}
    site.store = FaultyStore(inner, swaps=[after(fence)])

    manifest = rebased(site).manifest

    fresh = {part.object for part in manifest.chain.base.parts} - before
    assert {1} == {NAMES.parse_object_name(name).era.sweeps for name in fresh}  # type: ignore[union-attr]
    assert fresh == inner.present(fresh)


def test_a_base_that_leads_nowhere_is_given_up(site: Site, make_site: MakeSite) -> None:
    """Another new base came between, of a later content: nothing more is sent."""
    other = make_site("other")
    other.restore()

    def be_first() -> None:
        other.cycle(fact="4")
        rebased(other)

    site.store = FaultyStore(site.store, swaps=[after(be_first)])
    with pytest.raises(HeadMoved, match="another writer gave words a new base: version 5"):
        rebased(site)
    assert 5 == other.restore().manifest.version.number


def test_a_cycle_that_was_overtaken_by_a_new_base_lands_on_it(site: Site, make_site: MakeSite) -> None:
    """The same content under a new HEAD: a new manifest is enough, and its pack follows the new base."""
    other = make_site("other")
    other.restore()
    site.store = FaultyStore(site.store, swaps=[after(lambda: rebased(other))])

    manifest = site.cycle(fact="4", label="C").manifest

    assert (5, 1) == (manifest.version.number, len(manifest.chain.packs))
    assert {"2", "3", "4"} == facts(site.workspace.pristine.root).keys()
    assert not verify_store(read_published(site.store, COLLECTION), site.store).damage


def test_a_damaged_copy_is_no_base(site: Site) -> None:
    """Every byte is read again first; the copy is given up and nothing is published."""
    parent = site.restore()
    place = site.workspace.pristine.root / "chroma" / "chroma.sqlite3"
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.write_bytes(data)
    before = whole_store(Path(site.store.address))

    with pytest.raises(Corrupt, match="is not as published"):
        rebased(site, parent)
    assert before == whole_store(Path(site.store.address))
    assert None is site.workspace.pristine.version()


def test_a_workspace_that_holds_something_else_is_refused(site: Site, make_site: MakeSite) -> None:
    """It is restored first."""
    other = make_site("other")
    other.restore()
    parent = site.cycle(fact="4")

    with pytest.raises(Retryable, match="does not hold version 4"):
        rebased(other, parent)


def test_what_was_sent_before_a_fault_is_not_sent_again(site: Site) -> None:
    """A base that did not get through in one attempt is finished by the next."""
    healthy = site.store

    def fail_at_the_second(number: int, call: str) -> None:
        if call.startswith("write") and sum(each.startswith("write") for each in watched.calls) == 2:
            raise StoreUnavailable("no answer", hint="wait")

    site.store = watched = WatchedStore(healthy, before=fail_at_the_second)
    with pytest.raises(StoreUnavailable):
        rebased(site)
    first, second = (call for call in watched.calls if call.startswith("write"))
    site.store = watched = WatchedStore(healthy)

    manifest = rebased(site).manifest

    assert [second, f"write {manifest.name}"] == [call for call in watched.calls if call.startswith("write")]
    assert first.removeprefix("write ") in manifest.reached()
    assert not verify_store(read_published(healthy, COLLECTION), healthy).damage


def test_a_base_is_not_begun_without_the_time_for_it(site: Site) -> None:
    """A cycle that is short of time leaves it to a later one."""
    before = whole_store(Path(site.store.address))

    with pytest.raises(NoTime, match="storing a block"):
        rebased(site, deadline=Deadline(SYSTEM_CLOCK.monotonic()))
    assert before == whole_store(Path(site.store.address))
