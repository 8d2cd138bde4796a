"""One small process per workload, where there is no systemd to look after it.

A supervisor starts one main process, keeps its log, its exit code or signal and its times, and answers
on a socket in the workload's folder. It survives the command and the terminal that started it. It knows
neither containers nor any backend: those call :mod:`volt_core.supervisor.client`.
"""
