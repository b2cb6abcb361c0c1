#!/bin/busybox sh
# The first process of the guest: makes the usual mounts, loads modules, runs the job between three
# channels, reports its exit status on a fourth, and switches the machine off.
B=/bin/busybox
export PATH=/job/bin:/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=linux LD_LIBRARY_PATH=/job/lib
$B --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
ln -sf /proc/self/fd /dev/fd
. /lab/config

fail() {
	echo "p2pdma-lab: $1" >/dev/console
	[ -n "$CONTROL" ] && echo "failed $1" >"$CONTROL"
	poweroff -f
	sleep 600
}

# Whatever happens to who started this machine, it ends.
[ "$LIMIT" -gt 0 ] && (sleep "$LIMIT"; echo "p2pdma-lab: time is up" >/dev/console; poweroff -f) &

# The channels may need them; so a failure is told once there are channels.
while read -r module; do
	insmod "/lab/modules/$module" 2>/tmp/insmod || BROKEN="module $module: $(cat /tmp/insmod)"
done </lab/modules/order

port() {
	for at in /sys/class/virtio-ports/*; do
		if [ "$(cat "$at/name" 2>/dev/null)" = "$1" ]; then
			echo "/dev/${at##*/}"
			return
		fi
	done
}

tries=0
while :; do
	CONTROL=$(port control) OUT=$(port out) ERR=$(port err) LOG=$(port log)
	[ -c "$CONTROL" ] && [ -c "$OUT" ] && [ -c "$ERR" ] && [ -c "$LOG" ] && break
	tries=$((tries + 1))
	[ "$tries" -gt 300 ] && CONTROL= && fail "the kernel found no virtio-serial ports"
	sleep 0.1
done
echo "started $(uname -r)" >"$CONTROL"
[ -n "$BROKEN" ] && fail "$BROKEN"

# SSDs below one bridge are probed side by side, and where no firmware has enabled it one of them may be
# probed before the other has (pci_enable_bridge in drivers/pci/pci.c): it fails with ENODEV.
for device in /sys/bus/pci/devices/*; do
	[ "$(cat "$device/class")" = 0x010802 ] && [ ! -e "$device/driver" ] &&
		echo "${device##*/}" >/sys/bus/pci/drivers_probe
done

if [ "$INTERACTIVE" = 1 ]; then
	echo "p2pdma-lab: exit or Ctrl-D switches the machine off" >/dev/console
	cd /root && setsid cttyhack sh
	status=$?
else
	sh /lab/job <"/lab/input" >"$OUT" 2>"$ERR"
	status=$?
fi
dmesg >"$LOG"
echo "exit $status" >"$CONTROL"
poweroff -f
sleep 600
