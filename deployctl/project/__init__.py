"""What prefect.yaml says: its text, its keys, its deployments, and which of them are meant."""
