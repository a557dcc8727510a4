"""One file one stream: what is called, how it is walked, and why nothing is missed.

A stream is a function of a project and a window of time that yields batches of rows
(:class:`tiledesk.walks.Batch`). It knows nothing of dlt, Arrow or tables.
"""
