"""Test the kit with deliberately broken stores: the test written for each fault must catch it."""

from __future__ import annotations

import kit.broken_batches
import kit.broken_bodies
import kit.broken_clocks
import kit.broken_commits
import kit.broken_crowds
import kit.broken_diagnosis
import kit.broken_faults
import kit.broken_ids
import kit.broken_interruptions
import kit.broken_leases
import kit.broken_leftovers
import kit.broken_listing
import kit.broken_networks
import kit.broken_openings
import kit.broken_quarantine
import kit.broken_removals
import kit.broken_replace
import kit.broken_restore
import kit.broken_texts
import kit.broken_time  # noqa: F401 - each registers its mutants
import pytest
from hypothesis import Phase, settings
from kit.remote import RemoteSuite
from kit.suites import MUTANTS, BareSuite, ReferenceSuite

from botsession.testing import StoreContract
from botsession.testing.suite.networks import Networks

pytestmark = pytest.mark.once

RUNS = [
    pytest.param(mutant, test, id=f"{mutant.store_type.__name__}-{test}") for mutant in MUTANTS for test in mutant.tests
]
MISTAKES_OF_A_MUTANT = (AttributeError, ImportError, NameError)


class TestReference(ReferenceSuite):
    """The correct store passes every test that catches a broken one."""

    time_limit = 60


class PatientRemoteSuite(RemoteSuite):
    """The correct store behind a server, with time limits that suit a loaded machine."""

    time_limit = 60


@pytest.mark.parametrize("test", [name for name in vars(Networks) if name.startswith("test_")])
def test_the_reference_behind_a_server_passes(test):
    getattr(PatientRemoteSuite(), test)()


class TestBare(BareSuite):
    """A store of four methods passes, and skips tests of capabilities that it lacks."""


@pytest.fixture
def without_shrinking(monkeypatch):
    """Use the same examples in every run, and stop at the first failure."""
    monkeypatch.setenv("CI", "true")
    settings.register_profile("mutants", phases=[Phase.generate])
    before = settings.get_current_profile_name()
    settings.load_profile("mutants")
    yield
    settings.load_profile(before)


@pytest.mark.usefixtures("without_shrinking")
@pytest.mark.parametrize(("mutant", "test"), RUNS)
def test_a_mutant_is_caught(mutant, test):
    try:
        getattr(mutant.suite(), test)()
    except pytest.skip.Exception as skipped:
        pytest.fail(f"{test} was skipped: {skipped}")
    except MISTAKES_OF_A_MUTANT:
        raise
    except (Exception, pytest.fail.Exception):
        return
    pytest.fail(f"{test} does not catch the fault in {mutant.store_type.__name__}")


def test_every_test_of_the_kit_catches_a_mutant():
    kit = {name for name in dir(StoreContract) if name.startswith("test_")}
    catching = {test for mutant in MUTANTS for test in mutant.tests}
    assert kit - catching == set()
    assert catching - kit == set()


def test_there_are_mutants_enough():
    assert len({mutant.store_type for mutant in MUTANTS}) == len(MUTANTS) >= 100
