"""One process of a supervisor, without the supervisor around it."""

from __future__ import annotations

import os
import select
import signal

from volt_core.supervisor.job import Job
from volt_core.supervisor.model import STATUS_FD, Process
from volt_core.supervisor.streams import Event

SPEAKS_THEN_REPORTS = 'echo here; read go; echo "pid $$" >/proc/self/fd/$0; exec sleep 60'


def test_a_signal_that_answers_the_first_output_is_not_lost() -> None:
    """Also where the report that it runs comes later, as that of a program which looks whether the command began."""
    stdin, go = os.pipe()
    output, stdout = os.pipe()
    process = Process.of(["sh", "-c", SPEAKS_THEN_REPORTS, STATUS_FD], {"PATH": os.environ["PATH"]})
    job = Job(process, [stdin, stdout, os.open(os.devnull, os.O_WRONLY)], log=None, wake=Event())
    assert job.spawned_pid is not None
    ended: list[int] = []
    try:
        assert os.read(output, 100) == b"here\n"
        job.signal(signal.SIGINT)
        os.write(go, b"\n")
        select.select([job.status_fd], [], [], 10)
        job.read_report()
        ended = select.select([output], [], [], 10)[0]
        assert (job.pid is not None, ended) == (True, [output])
    finally:
        if not ended:
            os.kill(job.spawned_pid, signal.SIGKILL)
        job.take_exit(os.waitpid(job.spawned_pid, 0)[1])
        os.close(output)
        os.close(go)
        job.close()
