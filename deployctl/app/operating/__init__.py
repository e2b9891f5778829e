"""Use cases for deployed flows: runs, logs, status, work pools, and a local server."""
