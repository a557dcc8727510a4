"""What a load costs beside what a user would pick instead: ``make bench``.

Calls, CPU seconds, memory, and rows that were missed, of this connector and its alternatives, on
the same data and the same sandbox. Nothing here runs in a mode that a normal load does not use.
"""
