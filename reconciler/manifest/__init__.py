"""Manifests and the project file: YAML text with positions, references, checks, desired resources."""

from reconciler.manifest.document import Loaded, load
from reconciler.manifest.project import PROJECT_FILE, Project, find_project, load_project

__all__ = ["PROJECT_FILE", "Loaded", "Project", "find_project", "load", "load_project"]
