"""Build, push and pull steps of deployments, and the version of a deployment."""
