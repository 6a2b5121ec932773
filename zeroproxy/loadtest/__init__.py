"""`zeroproxy bench`: a small load tester for the endpoints of whoever uses it.

A closed loop: so many requests under way at once, each answer read to its end and checked for the
ending its dialect promises. `command.py` is the door; docs/bench.md says what the figures mean.
"""
