"""Benchmarks of sieve-async: see README.md in this folder."""
