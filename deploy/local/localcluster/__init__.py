"""A real Kubernetes cluster on one Linux machine: no Docker, nothing installed, nothing left behind.

Everything runs inside one *box*: a PID, mount and network namespace of its own, whose first process (`boxinit`) starts and reaps all the
others. Two nodes share the box's bridge. Ending the box's first process ends every process, and with the last process the kernel takes
away the mounts, links, addresses, firewall rules and network namespaces. What lies outside the box is little and removed by name: one
link to the host, the nodes' cgroups, and the run directory.
"""
