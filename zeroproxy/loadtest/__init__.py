"""`zeroproxy bench`: a small load tester for endpoints.

A closed loop: so many requests under way at once, each answer read to its end and checked for the
ending its dialect promises. `command.py` is the entry point; docs/bench.md explains the figures.
"""
