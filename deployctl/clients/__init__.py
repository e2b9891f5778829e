"""Clients of external systems: the only importers of httpx, docker and kubernetes, and the only
callers of external programs."""
