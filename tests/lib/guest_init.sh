#!/bin/busybox sh
# The first and only process of a test guest (QEMU or User Mode Linux). It loads the network modules, sets up
# eth0 as the kernel command line says (weft.mac=, weft.ip=, weft.mtu=), and then serves commands on the console:
#
#   in    ID BASE64            a shell script, on one line
#   out   #begin ID / the script's output / #end ID STATUS
#
# images.py puts it into the initramfs; guests.py is the other side of the console.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /sbin /usr/bin /usr/sbin /etc
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
dmesg -n 1
stty raw -echo 2>/dev/null

while read -r module; do
	insmod "$module"
done </modules/order

for word in $(cat /proc/cmdline); do
	case $word in
	weft.mac=*) mac=${word#*=} ;;
	weft.ip=*) ip=${word#*=} ;;
	weft.mtu=*) mtu=${word#*=} ;;
	esac
done
ip link set lo up
[ -n "$mac" ] && ip link set eth0 address "$mac"
[ -n "$mtu" ] && ip link set eth0 mtu "$mtu"
if [ -n "$ip" ]; then
	ip addr add "$ip" dev eth0
	ip link set eth0 up
fi

printf '\n#ready\n'
while read -r id script; do
	[ -n "$script" ] || continue
	printf '\n#begin %s\n' "$id"
	printf %s "$script" | base64 -d >/tmp/script
	sh /tmp/script </dev/null 2>&1
	printf '\n#end %s %s\n' "$id" $?
done
poweroff -f
