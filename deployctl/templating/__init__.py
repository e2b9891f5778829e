"""`{{ … }}` in prefect.yaml: what it may say, what it stands for, and when that is known."""
