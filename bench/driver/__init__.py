"""The driver of the side-by-side measurement; ../run.py is its entry point."""
