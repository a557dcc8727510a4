"""Benchmarks of a load beside its alternatives: ``make bench``.

They measure calls, CPU seconds, memory and lost rows of this connector and its alternatives, on the
same data and the same sandbox. Nothing runs in a mode that a normal load does not use.
"""
