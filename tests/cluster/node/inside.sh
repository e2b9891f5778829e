#!/bin/sh
# The first process of a node's namespaces: inside.sh FOLDER ADDRESS PROGRAMS, called by hold.sh.
set -eu

folder=$1 address=$2 programs=$3

# Paths that containerd, its network plugins and the kubelet insist on: nobody else sees these. The
# images, about a gigabyte, are in memory because they are written again for each node.
for place in /run/containerd /var/lib/cni /var/log/containers "$folder/containerd"; do
    mkdir -p "$place"
    mount -t tmpfs node "$place"
done

# Settings of the whole machine that the kubelet changes: it gets files that look like them.
mkdir "$folder/kernel"
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    shown=$folder/kernel/${setting##*/}
    cat "/proc/sys/$setting" >"$shown"
    mount --bind "$shown" "/proc/sys/$setting"
done

containerd --config "$folder/containerd.toml" >"$folder/containerd.log" 2>&1 &

"$programs/kube-scheduler" --kubeconfig="$folder/kube-scheduler.kubeconfig" \
    --secure-port=0 --leader-elect=false >"$folder/kube-scheduler.log" 2>&1 &

until [ -S "$folder/containerd.sock" ]; do sleep 0.1; done
"$programs/kubelet" --config="$folder/kubelet.json" --kubeconfig="$folder/kubelet.kubeconfig" \
    --root-dir="$folder/kubelet" --cert-dir="$folder/certificates" \
    --node-ip="$address" --hostname-override=node >"$folder/kubelet.log" 2>&1 &

read -r _ || true
