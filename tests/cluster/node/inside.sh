#!/bin/sh
# The first process of a node's namespaces: inside.sh FOLDER ADDRESS PROGRAMS, called by hold.sh.
set -eu

folder=$1 address=$2 programs=$3

# Paths that containerd, its network plugins and the kubelet insist on: nobody else sees these. The
# images, about a gigabyte, are in memory because they are written anew for each node.
for place in /run/containerd /var/lib/cni /var/log/containers "$folder/containerd"; do
    mkdir -p "$place"
    mount -t tmpfs node "$place"
done

containerd --config "$folder/containerd.toml" >"$folder/containerd.log" 2>&1 &

"$programs/kube-scheduler" --kubeconfig="$folder/kube-scheduler.kubeconfig" \
    --secure-port=0 --leader-elect=false >"$folder/kube-scheduler.log" 2>&1 &

until [ -S "$folder/containerd.sock" ]; do sleep 0.1; done
"$programs/kubelet" --config="$folder/kubelet.json" --kubeconfig="$folder/kubelet.kubeconfig" \
    --root-dir="$folder/kubelet" --cert-dir="$folder/certificates" \
    --node-ip="$address" --hostname-override=node >"$folder/kubelet.log" 2>&1 &

read -r _ || true
