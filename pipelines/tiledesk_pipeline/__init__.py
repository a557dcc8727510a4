"""The command line: what a person runs, and what stands behind each command."""
