"""Looks at the machine that it runs on.

It is sent through ssh as a text, to a machine that may lack everything: it imports the standard
library alone and is written for any Python 3.
"""

import hashlib
import importlib.util
import json
import os
import sys
from pathlib import Path

MARK = "uxnet-probe: "
"""Begins the line with the answer; a login may print more."""
DISTRIBUTIONS = ("uxnet-search", "torch", "monai", "pytorch-lightning", "nni", "numpy")
PACKAGES = ("search_space", "strategies", "uxnet_eval")


def probe(request):
    """What this machine has, as values of JSON.

    Args:
        request: ``environment`` of the trials, and ``dataset``: its folder, absolute or in
            ``UXNET_DATA``; None: none is needed.
    """
    data = request["environment"].get("UXNET_DATA", os.environ.get("UXNET_DATA"))
    return {
        "python": "%d.%d" % sys.version_info[:2],  # noqa: UP031
        "executable": sys.executable,
        "versions": _versions(),
        "source": _source(),
        "data": None if request["dataset"] is None else _data(request["dataset"], data),
        "can_write": os.access(os.path.expanduser("~"), os.W_OK),
        "open_ports": _open_ports(),
    }


def _versions():
    try:
        from importlib import metadata
    except ImportError:  # before Python 3.8
        return {}
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _source():
    """A checksum of this project's own files as they are imported; None if they are not there."""
    checksum = hashlib.sha256()
    for package in PACKAGES:
        try:
            found = importlib.util.find_spec(package)
        except (ImportError, ValueError):
            found = None
        if found is None or not found.submodule_search_locations:
            return None
        root = Path(next(iter(found.submodule_search_locations)))
        for path in sorted(path for path in root.rglob("*") if path.suffix in (".py", ".js")):
            checksum.update(("%s/%s\n" % (package, path.relative_to(root).as_posix())).encode())  # noqa: UP031
            checksum.update(path.read_bytes())
    return checksum.hexdigest()


def _data(dataset, data):
    """The data set's files: how many, and a checksum of their names and sizes."""
    if not os.path.isabs(dataset):
        if not data:
            return {"missing": "UXNET_DATA is not set"}
        dataset = os.path.join(data, dataset)
    root = Path(dataset)
    if not root.is_dir():
        return {"missing": "%s is no folder" % root}  # noqa: UP031
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    listed = ["%s %d" % (path.relative_to(root).as_posix(), path.stat().st_size) for path in files]  # noqa: UP031
    return {"files": len(files), "checksum": hashlib.sha256("\n".join(listed).encode()).hexdigest()}


def _open_ports():
    """TCP ports on which this machine listens beyond its loopback interface (Linux)."""
    ports = set()
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            address, state = line.split()[1], line.split()[3]
            host, port = address.split(":")
            is_loopback = host.endswith("7F") if len(host) == 8 else host.endswith("01000000")
            if state == "0A" and not is_loopback:
                ports.add(int(port, 16))
    return sorted(ports)


def main(request):
    """Prints the answer in a line of its own."""
    print("\n" + MARK + json.dumps(probe(request)), flush=True)
