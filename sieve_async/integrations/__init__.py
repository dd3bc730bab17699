"""Adapters for other systems, one module each; nothing else in the package imports them."""
