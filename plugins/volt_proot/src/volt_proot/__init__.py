"""Containers without root and without systemd: proot translates paths, a supervisor keeps watch."""
