"""Shared primitives: diagnostics, errors, redaction, retry, progress. Imports no other package."""
