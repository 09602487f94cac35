"""Manifests of the children, one file a kind; their names and labels. Pure."""
