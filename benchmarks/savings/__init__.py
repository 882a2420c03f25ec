"""What each exact saving of work gives: ``python -m benchmarks.savings``."""
