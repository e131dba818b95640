"""On a cluster of two nodes, one of which is lost on the way: as in processes of one machine."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_files import ct, encoded
from stopping import made

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason="ray is not installed: NOT TESTED on a cluster",
    ),
]
HERE = Path(__file__).parent
PROGRAM = """
import json, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
import radstart
from radstart.ingest import plan

source, out, key = map(Path, sys.argv[1:4])
plan.SCAN_FILES, plan.PART_IMAGES = 8, 4
local = radstart.ingest(source, out=out / "local", key=key, workers=1)
store = {"object_store_memory": 80_000_000, "num_cpus": 1}
cluster = Cluster(initialize_head=True, head_node_args={**store, "include_dashboard": False})
second = cluster.add_node(**store)
ray.init(address=cluster.address, log_to_driver=False)
cluster.wait_for_nodes()
nodes = [node["Alive"] for node in ray.nodes()]
lost = []

def lose():
    parts = out / "ray" / "work"
    while len(list(parts.glob("part-*.parquet"))) < 3:
        time.sleep(0.02)
    lost.append(len(list(parts.glob("part-*.parquet"))))
    cluster.remove_node(second, allow_graceful=False)

thread = threading.Thread(target=lose)
thread.start()
radstart.ingest(source, out=out / "ray", key=key, engine="ray")
thread.join()
alive = [node["Alive"] for node in ray.nodes()]
ray.shutdown()
cluster.shutdown()
print(json.dumps({"nodes": nodes, "alive": alive, "lost": lost}))
"""


def test_a_lost_node_changes_nothing(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    rng = np.random.default_rng(2)
    for k in range(96):
        pixels = rng.integers(900, 1300, (16, 12), dtype=np.uint16).tobytes()
        place = ["0", "0", str(7 * k % 96)]
        content = encoded(
            ct(SOPInstanceUID=f"1.2.{k}", InstanceNumber=str(k), Rows=16, Columns=12,
               ImagePositionPatient=place, PixelData=pixels)
        )  # fmt: skip
        (source / f"{k:02d}.dcm").write_bytes(content[: 700 if k == 50 else None])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, source, tmp_path, tmp_path / "key"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "RAY_raylet_start_wait_time_s": "300"},  # on a busy machine
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert sorted(found["nodes"]) == [True, True]
    assert sorted(found["alive"]) == [False, True]
    assert found["lost"][0] < 24  # of the parts: in the middle
    local, ray = made(tmp_path / "local"), made(tmp_path / "ray")
    assert local == ray
    assert "pixels/0023.bin" in local
