"""The record of one lease. Times are passed in, so no test sleeps."""

import msgspec
import pytest

from botsession.storage.leases import Lease, Place


def claim(lease, holder, now, ttl=10, again=2):
    return lease.claim(holder, now, ttl=ttl, again=again)


def test_a_new_lease_is_free_and_over():
    lease = Lease()
    assert lease.is_over(0)
    assert not lease.is_held_by_another("a", 0)
    assert claim(lease, "a", 0) is None
    assert (lease.holder, lease.until, lease.queue) == ("a", 10, [])
    assert not lease.is_over(9.9)


def test_another_is_told_when_it_may_be_free_and_waits():
    lease = Lease("a", 10)
    assert claim(lease, "b", 4) == 6
    assert lease.queue == [Place("b", 6)]
    assert (lease.holder, lease.until) == ("a", 10)


@pytest.mark.parametrize("now", [10, 11])
def test_a_lease_whose_time_is_over_is_free(now):
    lease = Lease("a", 10)
    assert not lease.is_held_by_another("b", now)
    assert lease.is_over(now)
    assert claim(lease, "b", now) is None
    assert (lease.holder, lease.until) == ("b", now + 10)


def test_the_holder_asks_again_and_holds_it_longer():
    lease = Lease("a", 10)
    assert claim(lease, "a", 4) is None
    assert (lease.until, lease.queue) == (14, [])


def test_the_holder_asks_again_while_others_wait():
    lease = Lease("a", 10, [Place("b", 6)])
    assert claim(lease, "a", 4) is None
    assert (lease.holder, lease.until, lease.queue) == ("a", 14, [Place("b", 6)])


def test_who_waits_longest_is_next():
    lease = Lease("a", 10)
    for now, holder in enumerate(["b", "c", "d"]):
        claim(lease, holder, now, again=100)
    lease.release("a", 5)
    assert claim(lease, "d", 5, again=100) == 95
    assert claim(lease, "c", 6, again=100) == 94
    assert claim(lease, "b", 7) is None
    assert [place.holder for place in lease.queue] == ["c", "d"]


def test_who_asks_again_keeps_its_place_for_longer():
    lease = Lease("a", 10)
    claim(lease, "b", 0, again=2)
    claim(lease, "c", 1, again=2)
    claim(lease, "b", 1.5, again=8)
    assert lease.queue == [Place("b", 9.5), Place("c", 3)]


def test_who_does_not_ask_again_loses_its_place():
    lease = Lease("a", 10)
    claim(lease, "b", 0, again=2)
    claim(lease, "c", 1, again=5)
    lease.release("a", 2)
    assert claim(lease, "c", 2) is None
    assert claim(lease, "b", 3) == 9


def test_a_lease_is_kept_for_the_next_only_as_long_as_it_asks():
    lease = Lease("a", 10)
    claim(lease, "b", 9, again=3)
    assert claim(lease, "c", 11, again=3) == 1
    assert claim(lease, "c", 12, again=3) is None


def test_only_the_holder_renews_and_only_in_time():
    lease = Lease("a", 10, [Place("b", 20)])
    assert not lease.renew("b", 5, ttl=10)
    assert not lease.renew("", 5, ttl=10)
    assert lease.renew("a", 5, ttl=3)
    assert lease.until == 8
    assert not lease.renew("a", 8, ttl=3)
    assert (lease.holder, lease.until) == ("a", 8)


def test_a_release_is_of_the_holder_or_of_a_place():
    lease = Lease("a", 10, [Place("b", 20), Place("c", 20)])
    lease.release("x", 5)
    assert lease == Lease("a", 10, [Place("b", 20), Place("c", 20)])
    lease.release("b", 5)
    assert lease == Lease("a", 10, [Place("c", 20)])
    lease.release("a", 5)
    assert not lease.is_held_by_another("c", 5)
    assert not lease.is_over(5)
    lease.release("c", 5)
    assert lease.is_over(5)


def test_it_is_over_when_nobody_holds_it_and_nobody_waits():
    assert not Lease("a", 10).is_over(9)
    assert Lease("a", 10).is_over(10)
    assert not Lease("a", 10, [Place("b", 12)]).is_over(11)
    assert Lease("a", 10, [Place("b", 12)]).is_over(12)


def test_a_claim_drops_the_places_that_have_lapsed():
    lease = Lease("a", 10, [Place("b", 2), Place("c", 20)])
    claim(lease, "d", 3)
    assert [place.holder for place in lease.queue] == ["c", "d"]


def test_it_can_be_kept_as_json():
    lease = Lease("a", 10.5, [Place("b", 2.25)])
    raw = msgspec.json.encode(lease)
    assert msgspec.json.decode(raw, type=Lease) == lease
