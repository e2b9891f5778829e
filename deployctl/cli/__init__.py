"""Command line: one module per command parses options, calls a use case and renders its result."""
