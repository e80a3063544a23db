"""The tests of the conformance kit, one idea a file."""
