"""Ground: what every other room may use and what uses nothing itself."""
