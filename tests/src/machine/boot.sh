#!/bin/bash
# Boots a machine and ends it when standard input does: `unshare --mount bash boot.sh begin NAME CHECKOUT PROGRAMS`, as root,
# in the network that the machine is to have. Prints the process that is the parent of its first one.
#
# Its root is this machine's, below a layer of its own in memory; its units are the journal, the few targets written here, and
# what is put there later. CHECKOUT is at /srv/gslb, where target/release holds PROGRAMS.
set -euo pipefail

# In a mount namespace of its own, so that what is mounted goes with it.
begin() {
    local base cgroup machine
    base=$(mktemp --directory)
    mount -t tmpfs tmpfs "$base"
    mkdir "$base/cgroup"
    mount -t cgroup2 cgroup2 "$base/cgroup"
    cgroup=$base/cgroup/gslb-machine-$$
    mkdir "$cgroup"
    # Which becomes the root of its control groups. It is killed with this script, its first process with it, and with that
    # all others: no machine outlives whoever wanted it.
    bash -c 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"' bash "$cgroup" \
        setpriv --pdeathsig KILL unshare --kill-child --fork --pid --mount --ipc --uts --cgroup \
        bash "$0" settle "$base" "$@" < /dev/null &
    machine=$!
    echo "$machine"
    # No signal that asks this script to end does so before the machine has ended, which the end of its input begins.
    trap : INT TERM HUP
    cat > /dev/null || true
    kill -KILL "$machine" || true
    { wait "$machine" || true; } 2> /dev/null
    # Its processes end a moment after their first one, and a group that has some cannot be removed.
    local tries=1000
    while test -d "$cgroup" && ! find "$cgroup" -depth -type d -exec rmdir {} + 2> /dev/null; do
        if ((--tries == 0)); then
            echo "boot.sh: processes are left in $cgroup" >&2
            break
        fi
        sleep 0.01
    done
    umount --lazy "$base"
    rmdir "$base"
}

# In all of its namespaces: puts its root together, and becomes its first process.
settle() {
    local base=$1 name=$2 checkout=$3 programs=$4 root=$1/root node target
    mkdir "$base"/{above,work,root,checkout,checkout-work}
    mount -t overlay -o "lowerdir=/,upperdir=$base/above,workdir=$base/work" overlay "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for node in null zero full random urandom tty; do
        touch "$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s pts/ptmx "$root/dev/ptmx"
    mkdir -p "$root"/dev/{shm,pts} "$root/srv/gslb"
    mount -t overlay -o "lowerdir=$checkout,upperdir=$base/checkout,workdir=$base/checkout-work" overlay "$root/srv/gslb"
    mkdir -p "$root/srv/gslb/target/release"
    mount --bind "$programs" "$root/srv/gslb/target/release"

    # None of this machine's units, nor what would make some.
    for node in etc/systemd usr/lib/systemd/system usr/lib/systemd/system-generators; do
        mount -t tmpfs -o mode=755 tmpfs "$root/$node"
    done
    mkdir "$root/etc/systemd/system"
    cd "$root/usr/lib/systemd/system"
    for target in sysinit shutdown network-online; do
        printf '[Unit]\nDefaultDependencies=no\n' > "$target.target"
    done
    printf '[Unit]\nWants=systemd-journald.socket systemd-journald.service\n' > sockets.target
    cp /usr/lib/systemd/system/systemd-journald.{service,socket} .
    printf '[Unit]\nRequires=sysinit.target sockets.target\nAfter=sysinit.target sockets.target\n' > basic.target
    printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' > multi-user.target

    echo "$name" > "$root/etc/hostname"
    hostname "$name"
    cd "$root"
    mkdir before
    pivot_root . before
    umount --lazy /before
    exec env --ignore-environment "PATH=$PATH" container=gslb \
        /lib/systemd/systemd --unit=multi-user.target --log-target=journal-or-kmsg --log-level=notice --show-status=no
}

"$@"
