"""A real Kubernetes control plane for tests, with a test in the kubelet's place."""
