"""Benchmarks that each answer one question, for this connector alone or beside the limit."""
