"""What the code says of a flow: its name, description, version and parameters."""
