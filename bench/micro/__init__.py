"""What one head, one KB, one record costs: `make bench-micro`. Not part of the tests."""
