"""Fuzz targets for everything that reads bytes from a server or a caller."""
