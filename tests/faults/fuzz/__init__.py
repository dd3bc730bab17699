"""Targets for a fuzzer: each takes any bytes, and fails where a promise about them is broken."""
