"""Command line: one module per command parses, calls one use case, and hands over to a renderer."""
