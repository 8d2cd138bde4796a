"""systemd as the keeper of workloads: unit files and transient units, jobs over D-Bus, the journal.

What backends for containers, machines and services share. Needs systemd as PID 1, and jeepney, which is
imported when a connection is opened and not before.
"""
