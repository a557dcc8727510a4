"""What a release has beside its packages. Runs in a checkout and is not in the wheel."""
