"""Slow decisions in plain Python; the data plane only reads what they write."""
