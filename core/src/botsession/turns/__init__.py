"""Turns: the queue, loading and saving, leases, and batches of concurrent calls."""
