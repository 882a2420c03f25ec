"""A Ray cluster of two nodes on this machine: ``python -m tests.support.two_nodes CPUS CPUS``.

It prints the address and the process ids of both raylets, and ends with its input.
"""

import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    first, second = map(int, sys.argv[1:])
    common = {"object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": first, **common})
    nodes = [cluster.head_node, cluster.add_node(num_cpus=second, object_store_memory=80 << 20)]
    pids = [node.all_processes["raylet"][0].process.pid for node in nodes]
    print(cluster.address, *pids, flush=True)
    sys.stdin.read()
    cluster.shutdown()
