"""The engine: desired and current resources, plan, apply, and the last-applied record."""
