"""Use cases: what each command does, without how it is asked for or shown."""
