"""Code that runs in a child process, in an interpreter of the project or in ours.

Its modules import nothing else of deployctl, and keep to the syntax of Python 3.9, the oldest that
a supported Prefect runs on. Only this package imports Prefect or pydantic, and only this package
runs user code.
"""
