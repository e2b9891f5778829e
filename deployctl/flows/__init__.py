"""What the code says about a flow: its name, description, version and parameter schema."""
