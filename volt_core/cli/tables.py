"""Every command and where it is: data only, so that help and completion import nothing else."""

from __future__ import annotations

from typing import Final

from volt_core.cli.entry import FLAG, NAMES, Entry, Plain

_V = "volt_core.cli.verbs"
_C = "volt_core.cli.create"
_E = "volt_core.cli.execute"
_P = "volt_core.cli.listing"
_D = "volt_core.cli.direct"
_I = "volt_core.cli.image"
_TIMEOUT: Final = {"--timeout": "seconds"}

VERBS: Final = {
    "start": Entry(f"{_V}:start", "Start workloads.", plain=Plain(f"{_D}:start", (NAMES,))),
    "stop": Entry(f"{_V}:stop", "Stop workloads: ask, then kill.", plain=Plain(f"{_D}:stop", (NAMES,), _TIMEOUT)),
    "restart": Entry(
        f"{_V}:restart", "Stop workloads, then start them.", plain=Plain(f"{_D}:restart", (NAMES,), _TIMEOUT)
    ),
    "kill": Entry(f"{_V}:kill", "Send a signal to workloads."),
    "delete": Entry(f"{_V}:delete", "Delete workloads.", plain=Plain(f"{_D}:delete", (NAMES,), {"--force": FLAG})),
    "wait": Entry(f"{_V}:wait", "Wait until workloads end and print their exit codes."),
    "exec": Entry(f"{_E}:exec_", "Run a command in a running workload."),
    "shell": Entry(f"{_E}:shell", "Open a shell in a running workload."),
    "logs": Entry("volt_core.cli.logs:logs", "Show what workloads have written."),
    "inspect": Entry(f"{_P}:inspect", "Show everything about workloads."),
    "freeze": Entry(f"{_V}:freeze", "Suspend workloads.", plain=Plain(f"{_D}:freeze", (NAMES,))),
    "thaw": Entry(f"{_V}:thaw", "Resume frozen workloads.", plain=Plain(f"{_D}:thaw", (NAMES,))),
}

CONTAINER: Final = {
    "create": Entry(f"{_C}:create", "Create a container without starting it."),
    "run": Entry(f"{_C}:run", "Create a container and run a command in it."),
    **VERBS,
    "list": Entry(f"{_P}:containers", "List containers."),
}

WORKLOAD: Final = {**VERBS, "list": Entry(f"{_P}:workloads", "List workloads of all kinds.")}

IMAGE: Final = {
    "pull": Entry(f"{_I}:pull", "Fetch an image from a source, for example debian:bookworm."),
    "import": Entry(
        f"{_I}:import_",
        "Import a root file system from a tar or a directory.",
        plain=Plain("volt_core.cli.stored:import_image", ("text", "text"), {"--quiet": FLAG}),
    ),
    "list": Entry(f"{_I}:list_", "List images."),
    "inspect": Entry(f"{_I}:inspect", "Show everything about an image."),
    "tag": Entry(f"{_I}:tag", "Give an image another name."),
    "delete": Entry(f"{_I}:delete", "Delete image names."),
    "export": Entry(f"{_I}:export", "Write an image as a tar."),
}

PLUGIN: Final = {
    "list": Entry("volt_core.cli.plugin:list_", "List plugins and what they provide."),
    "inspect": Entry("volt_core.cli.plugin:inspect", "Show a plugin; of a broken one, why."),
    "new": Entry("volt_core.cli.plugin:new", "Write the distribution of a new plugin."),
}

CONFIG: Final = {
    "get": Entry("volt_core.cli.config:get", "Print a setting."),
    "list": Entry("volt_core.cli.config:list_", "Print all settings."),
    "set": Entry("volt_core.cli.config:set_", "Write a setting to the configuration file."),
    "unset": Entry("volt_core.cli.config:unset", "Take a setting out of the configuration file."),
}

TOP: Final = {
    "run": CONTAINER["run"],
    "create": CONTAINER["create"],
    **VERBS,
    "rm": VERBS["delete"]._replace(hidden=True),
    "ps": Entry(f"{_P}:ps", "List workloads."),
    "container": Entry("volt_core.cli.app:container", "Containers."),
    "workload": Entry("volt_core.cli.app:workload", "Workloads of any kind."),
    "image": Entry("volt_core.cli.app:image", "Images."),
    "plugin": Entry("volt_core.cli.app:plugin", "Plugins."),
    "config": Entry("volt_core.cli.app:config", "Configuration."),
    "doctor": Entry("volt_core.cli.host:doctor", "Check what this host can do."),
    "info": Entry("volt_core.cli.host:info", "Show where this Volt keeps things and what it uses."),
    "completion": Entry("volt_core.cli.host:completion", "Print the completion script for a shell."),
}

GROUPS: Final = {
    "container": CONTAINER,
    "workload": WORKLOAD,
    "image": IMAGE,
    "plugin": PLUGIN,
    "config": CONFIG,
    "ps": {"inspect": VERBS["inspect"]},
}
"""The commands of the groups; that of ``ps`` is for completion."""
