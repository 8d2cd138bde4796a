"""Workloads of all kinds: their folders, their index, and their life cycle over any backend."""

from volt_core.workloads.cleanup import folder_checks
from volt_core.workloads.logs import Excerpt
from volt_core.workloads.manager import Workloads

__all__ = ["Excerpt", "Workloads", "folder_checks"]
