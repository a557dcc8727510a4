"""One file for each stream: its calls, its walk, and why it misses nothing.

A stream is a function of a project and a window of time. It yields batches of rows
(:class:`tiledesk.walks.Batch`). It knows nothing of dlt, Arrow or tables.
"""
