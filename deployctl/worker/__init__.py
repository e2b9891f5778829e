"""The worker: a controller that compares scheduled flow runs with Jobs and acts on differences."""
