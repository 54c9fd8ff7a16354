"""Judging a task's result (contract/polpo.md §6): the pieces, and `assess`, which puts them together.

Nothing here changes a task: `services.judging` writes down what was found.
"""
