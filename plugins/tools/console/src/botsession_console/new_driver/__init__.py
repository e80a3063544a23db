"""A new driver: a whole package whose tests pass, for its author to fill in."""
