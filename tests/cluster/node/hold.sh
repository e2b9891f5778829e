#!/bin/sh
# Lends a node what it needs of this machine: hold.sh FOLDER BRIDGE ADDRESS PROGRAMS SERVICE
#
# Standard input is a leash. When the other end is gone, however that happened, the first process of
# the node's PID namespace ends; the kernel then ends all the others and drops their mounts and
# network interfaces. What is left to clear away here: the bridge, cgroups and files.
set -eu

here=$(dirname "$0")
folder=$1 bridge=$2 address=$3 programs=$4 service=$5

ip link add "$bridge" type bridge
ip address add "$address/24" dev "$bridge"
ip address add "$service/32" dev "$bridge"
ip link set "$bridge" up

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then trees=/sys/fs/cgroup; else trees=/sys/fs/cgroup/*; fi
for tree in $trees; do mkdir "$tree/$bridge"; done

trap : INT TERM HUP
unshare --mount --pid --fork --mount-proc "$here/inside.sh" "$folder" "$address" "$programs" || true

ip link delete "$bridge"
for _ in 1 2 3 4 5; do
    for tree in $trees; do
        find "$tree/$bridge" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    [ -z "$(ls -d /sys/fs/cgroup/*/"$bridge" /sys/fs/cgroup/"$bridge" 2>/dev/null)" ] && break
    sleep 0.2
done
rm -rf --one-file-system "$folder"
