"""What an ordinary user does with containers; run by ``test_user.py`` in a process without root.

Prints a JSON document of what was seen.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from volt_core import processes
from volt_core.contracts import BackendContext, Streams
from volt_core.models.mount import Mount
from volt_core.models.workload import ContainerSpec, Kind, Workload
from volt_core.paths import VoltPaths
from volt_core.testing.fakes import MemoryStore
from volt_core.testing.roots import make_busybox_root
from volt_proot.backend import ProotBackend

HOME = Path(os.environ["HOME"])
paths = VoltPaths.for_user(os.environ, os.geteuid())
paths.prepare()
backend = ProotBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))
image = backend.store.put_directory(make_busybox_root(HOME / "root")).digest


def create(name: str, *command: str, **spec: Any) -> Workload:
    workload = Workload(
        name=name,
        id=uuid.uuid4().hex,
        kind=Kind.CONTAINER,
        backend="proot",
        created=time.time_ns(),
        spec=ContainerSpec(image="i", root=image, command=command, **spec),
    )
    paths.workload(workload.kind, name).mkdir(parents=True)
    backend.create(workload)
    return workload


def output(workload: Workload) -> str:
    """Run it in the foreground and return what it prints."""
    path = HOME / f"{workload.name}.out"
    with path.open("wb") as file, open(os.devnull, "rb") as null:
        streams = Streams(stdin=null.fileno(), stdout=file.fileno(), stderr=file.fileno())
        backend.run_attached(workload, streams, lambda: None)
    return path.read_text()


data = HOME / "data"
data.mkdir()
(data / "file").write_text("old")
mounts = (Mount(source=str(data), target="/ro", read_only=True), Mount(source=str(data), target="/rw"))

seen: dict[str, Any] = {"uid": os.geteuid(), "probe": backend.probe().available}
seen["id"] = output(create("id", "id", "-u"))
seen["chown"] = output(create("chown", "sh", "-c", "touch /f; chown www /f && stat -c %a /f"))
seen["read-only"] = output(
    create("ro", "sh", "-c", "cat /ro/file; echo x > /ro/file; echo made > /rw/made", mounts=mounts)
)
seen["made"] = (data / "made").read_text()
seen["root"] = output(create("rr", "sh", "-c", "touch /new; touch /tmp/new && echo fine", read_only=True))
service = create("service", "sh", "-c", "echo up; exec sleep 1000")
backend.start(service)
seen["running"] = backend.status(service).status
with open(os.devnull, "r+b") as null:
    streams = Streams(stdin=null.fileno(), stdout=null.fileno(), stderr=null.fileno())
    seen["exec"] = backend.exec(service, ("sh", "-c", "exit 9"), streams).code
backend.stop(service, 10)
seen["stopped"] = str(backend.status(service).outcome)
seen["log"] = [record.data.decode() for record in backend.logs(service)]
seen["left"] = len(processes.leftovers(service.id))
print(json.dumps(seen))
