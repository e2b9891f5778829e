"""The outside: the only importers of httpx, docker and kubernetes; only here programs start."""
