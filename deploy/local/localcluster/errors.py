"""What goes wrong, as one small tree: every message names the thing, what was found, and what to do."""

from __future__ import annotations


class LocalClusterError(RuntimeError):
    """Any failure that a user can act on. Printed without a traceback."""


class MissingTool(LocalClusterError):
    """A program of the host that cannot be made here is missing (root, Go, apt-get, ip, ...)."""


class AddressInUse(LocalClusterError):
    """A range or a link name that the cluster wants is taken by the host."""


class DownloadRefused(LocalClusterError):
    """A source of programs did not answer, or answered with something else. The next source is tried."""


class NotReady(LocalClusterError):
    """A condition did not hold before its deadline."""


class ForeignCluster(LocalClusterError):
    """An operation that only the local cluster offers was asked of a foreign one, or a context was not named as it must be."""
