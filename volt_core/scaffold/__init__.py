"""Writes the distribution of a new plugin; what the files say is in ``templates``, one folder a kind."""

from volt_core.scaffold.make import KINDS, NewPlugin, new_plugin

__all__ = ["KINDS", "NewPlugin", "new_plugin"]
