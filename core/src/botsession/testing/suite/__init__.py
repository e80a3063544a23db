"""The tests of the conformance kit, one topic in each file."""
