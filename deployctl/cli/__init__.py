"""The face: one file per command that parses, calls one use case, and hands over to a renderer."""
