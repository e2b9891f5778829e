"""`{{ … }}` in prefect.yaml: the grammar, the sources of values, and the rendering passes."""
