"""What drivers build on: the text of a record, a table of leases, and the binding to a process and event loop."""
