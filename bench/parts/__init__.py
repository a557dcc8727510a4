"""Benchmarks of one question each, of this connector alone or beside the bare limit."""
