"""One turn: the queue, reading and saving, leases, and batches of concurrent turns."""
