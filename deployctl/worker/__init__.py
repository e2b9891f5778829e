"""Runs what a server schedules: a controller that compares flow runs with jobs, again and again."""
