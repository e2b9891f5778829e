"""What `deployctl doctor` checks: one module per area, each with readings and pure judgements.

No check writes anything. Two requests look like writes: `SelfSubjectAccessReview` is how the
Kubernetes API answers questions, and an upload to a registry is started and cancelled at once,
because no other request shows whether a push would be allowed; it leaves no blob, tag or manifest.
"""
