"""A backend for Volt on bubblewrap: containers in namespaces of their own, without root and without systemd."""
