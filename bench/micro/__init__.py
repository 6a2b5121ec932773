"""Costs of one head, one KB, one record: `make bench-micro`. Not part of the tests."""
