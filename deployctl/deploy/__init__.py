"""The engine: what should be true on the server, what is, the difference, and making it so."""
