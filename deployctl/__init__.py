"""Makes what prefect.yaml says true on a Prefect server."""

__version__ = "0.1.0"
