"""What an ordinary user does with containers; run by ``test_user.py`` in a process without root.

Its argument is the kind of root that is wanted, ``copy`` or ``overlay``. Prints a JSON document of what was seen.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import volt_bwrap.backend
from volt_bwrap.backend import BwrapBackend
from volt_core import fs
from volt_core.contracts import BackendContext, Streams
from volt_core.errors import CapabilityMissing
from volt_core.models.mount import Mount
from volt_core.models.workload import ContainerSpec, Kind, Workload
from volt_core.paths import VoltPaths
from volt_core.testing.fakes import MemoryStore
from volt_core.testing.roots import make_busybox_root

if sys.argv[1] == "copy":
    volt_bwrap.backend.can_overlay = lambda folder: False
HOME = Path(os.environ["HOME"])
paths = VoltPaths.for_user(os.environ, os.geteuid())
paths.prepare()
backend = BwrapBackend(BackendContext(paths=paths, open_store=lambda: MemoryStore(paths.store)))
image = backend.store.put_directory(make_busybox_root(HOME / "root")).digest


def create(name: str, *command: str, **spec: Any) -> Workload:
    workload = Workload(
        name=name,
        id=uuid.uuid4().hex,
        kind=Kind.CONTAINER,
        backend="bwrap",
        created=time.time_ns(),
        spec=ContainerSpec(image="i", root=image, command=command, **spec),
    )
    paths.workload(workload.kind, name).mkdir(parents=True)
    backend.create(workload)
    return workload


def output(workload: Workload, *command: str, user: str = "") -> str:
    """Run it, or a command in it, in the foreground and return what is printed."""
    path = HOME / f"{workload.name}.out"
    with path.open("wb") as file, open(os.devnull, "rb") as null:
        streams = Streams(stdin=null.fileno(), stdout=file.fileno(), stderr=file.fileno())
        if command:
            backend.exec(workload, command, streams, user=user)
        else:
            backend.run_attached(workload, streams, lambda: None)
    return path.read_text()


data = HOME / "data"
data.mkdir()
(data / "file").write_text("old")
mounts = (Mount(source=str(data), target="/ro", read_only=True), Mount(source=str(data), target="/rw"))
ids = ("sh", "-c", "echo $(id -u):$(id -g)")

seen: dict[str, Any] = {"uid": os.geteuid(), "probe": backend.probe().available}
first = create("id", "id", "-u")
seen["overlay"] = paths.workload(first.kind, "id").joinpath("upper").exists()
seen["id"] = output(first)
seen["www"] = output(create("www", *ids, user="www"))
seen["read-only"] = output(
    create("ro", "sh", "-c", "exec 2>&1; cat /ro/file; echo x > /ro/file; echo made > /rw/made", mounts=mounts)
)
seen["made"] = (data / "made").read_text()
seen["root"] = output(create("rr", "sh", "-c", "exec 2>&1; touch /new; touch /tmp/new && echo fine", read_only=True))
change = 'rm -r /var && mkdir /var && [ -z "$(ls /var)" ] && rm /etc/motd && mkdir -m 500 /home/closed && echo gone'
changed = create("changed", "sh", "-c", change)
seen["changed"] = output(changed)
service = create("service", "sh", "-c", "echo up; exec sleep 1000")
backend.start(service)
seen["running"] = backend.status(service).status
with open(os.devnull, "r+b") as null:
    streams = Streams(stdin=null.fileno(), stdout=null.fileno(), stderr=null.fileno())
    seen["exec"] = backend.exec(service, ("sh", "-c", "exit 9"), streams).code
try:
    output(service, *ids, user="www")
except CapabilityMissing as error:
    seen["as another user"] = error.brief
backend.stop(service, 10)
seen["stopped"] = str(backend.status(service).outcome)
seen["log"] = [record.data.decode() for record in backend.logs(service)]
service = create("www-service", "sleep", "1000", user="www")
backend.start(service)
seen["exec in www"] = output(service, *ids)
backend.stop(service, 10)
for workload in (changed, service):
    backend.delete(workload)
    fs.remove_tree(paths.workload(workload.kind, workload.name))
seen["deleted"] = not paths.workload(changed.kind, "changed").exists()
print(json.dumps(seen))
