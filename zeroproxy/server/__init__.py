"""Lifecycle and composition: everything that makes one worker out of the floors below."""
