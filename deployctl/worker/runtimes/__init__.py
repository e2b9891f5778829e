"""Where jobs run: Kubernetes, Docker, or processes of this machine."""
