"""prefect.yaml: parsing, validation, and selection of its deployments."""
