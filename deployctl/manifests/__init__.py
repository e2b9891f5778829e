"""Kubernetes manifests of a worker: values in, objects out. Pure."""
