"""A small catalog with servers behind it: weights are fetched as from afar, and nothing leaves."""

import hashlib
import json
import socket
import sys
import tarfile
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "weights"))

from evil_server import Server, give, status

COMMITS = ("a" * 40, "b" * 40)
CATALOG = """
schema = 1
set = [
    {{ name = "imagenet-1k", title = "ImageNet" }},
    {{ name = "chestx-ray14", title = "NIH", folders = ["images"] }},
    {{ name = "rsna-pneumonia", title = "RSNA", parents = ["chestx-ray14"] }},
]
[[family]]
name = "imagenet"
group = "natural images"
title = "ImageNet"
licence = "Apache-2.0"
origin = "timm"
size = 64
convention = "imagenet"
saw = ["imagenet-1k"]
weights = [
    {{ name = "test_resnet", hub = "timm/test_resnet.x", file = "model.safetensors" }},
    {{ name = "test_efficientnet", url = "{base}/absent.safetensors" }},
]
[[family]]
name = "radiologynet"
group = "radiology"
title = "RadiologyNET"
licence = "GPL"
terms = "unclear"
origin = "timm"
size = 64
convention = "0to1"
weights = [
    {{ name = "test_resnet", url = "{base}/R.tar.gz", sha256 = "{archive}" }},
    {{ name = "other", backbone = "test_resnet", url = "{base}/R.tar.gz" }},
]
[[family]]
name = "radimagenet"
group = "radiology"
title = "RadImageNet"
licence = "none"
terms = "research"
origin = "timm"
size = 64
convention = "-1to1"
loadable = "steps"
why = "It lies behind a form."
steps = ["Fill in the form.", "Download the file."]
weights = [{{ name = "test_resnet", file = "R.safetensors" }}]
[[family]]
name = "chest"
group = "radiology"
title = "Chest"
licence = "MIT"
origin = "timm"
size = 64
convention = {{ mean = [0.4, 0.5, 0.6], std = [0.2, 0.25, 0.3] }}
saw = ["chestx-ray14"]
weights = [{{ name = "test_resnet", url = "{base}/chest.safetensors" }}]
[[family]]
name = "volume"
group = "not loaded here"
title = "3-D"
licence = "MIT"
loadable = "no"
why = "It is for volumes."
"""


class Shelf:
    """A catalog of four families, a hub with `me/net`, and what they were asked for.

    Attributes:
        site, store: the hub, and the server of everything else.
        weights: the weights folder that stands behind every name.
    """

    def __init__(self, folder, weights):
        self.site, self.store, self.weights = Server(), Server(), weights
        tensors = (weights / "model.safetensors").read_bytes()
        with tarfile.open(folder / "R.tar.gz", "w:gz") as file:
            file.add(weights / "model.safetensors", "R/model.safetensors")
        self.archive = folder / "R.tar.gz"
        archive = self.archive.read_bytes()
        self.store.serve("/R.tar.gz", give(archive))
        self.store.serve("/chest.safetensors", give(tensors))
        self.files = {
            name: (weights / name).read_bytes() for name in ("config.json", "model.safetensors")
        }
        for repo in ("timm/test_resnet.x", "me/net"):
            self.publish(repo, self.files)
        self.catalog = folder / "catalog.toml"
        digest = hashlib.sha256(archive).hexdigest()
        self.catalog.write_text(CATALOG.format(base=self.store.base, archive=digest))

    def publish(self, repo, files, commit=COMMITS[0]):
        """Let a repository of the hub hold these files under `main` and under a commit."""
        for name, body in files.items():
            found = hashlib.sha256(body).hexdigest()
            said = {
                "X-Repo-Commit": commit,
                "X-Linked-Etag": f'"{found}"',
                "X-Linked-Size": str(len(body)),
                "Location": self.store.serve(f"/{found}", give(body)),
            }
            for revision in ("main", commit):
                self.site.serve(f"/{repo}/resolve/{revision}/{name}", status(302, said))
        listed = {"id": repo, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
        for revision in ("main", commit):
            self.site.serve(
                f"/api/models/{repo}/revision/{revision}",
                status(200, {"Content-Type": "application/json"}, json.dumps(listed).encode()),
            )

    @property
    def asked(self):
        """The paths that were asked for, in turn."""
        return [path for _, path, _ in (*self.site.seen, *self.store.seen)]

    def forget(self):
        """Forget what was asked for so far."""
        self.site.seen.clear()
        self.store.seen.clear()

    def close(self):
        self.site.close()
        self.store.close()


def clear_catalog():
    """Let the catalog be read again."""
    from radstart.weights import catalog

    for cached in (catalog._catalog, catalog._set_names):
        cached.cache_clear()


def no_network(patch):
    """Let every look-up of a name fail, as without network; return the names that were asked."""
    asked = []

    def fails(name, *words, **options):
        asked.append(name)
        raise socket.gaierror(-2, "Name or service not known")

    patch.setattr(socket, "getaddrinfo", fails)
    return asked


def no_sockets(patch):
    """Let a test fail where a connection is opened, whatever takes the error in."""
    opened = []

    def forbidden(*words, **options):
        opened.append(words)
        raise AssertionError("a connection was opened")

    patch.setattr(socket.socket, "connect", forbidden)
    patch.setattr(socket, "getaddrinfo", forbidden)
    patch.setattr(socket, "create_connection", forbidden)
    return opened
