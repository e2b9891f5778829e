"""Kubernetes manifests of a worker, or of a stack with server and database. Pure."""
