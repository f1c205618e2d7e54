#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A guest of QEMU without acceleration: Debian's kernel, busybox, and a script.
# It is there for the clients that a kernel has: NBD, iSCSI, NFS, SMB.  The
# loopback of this machine is 10.0.2.2 to it.

GUEST_KERNEL=
for GUEST_KERNEL in ${CFS_GUEST_KERNEL-} /boot/vmlinuz-*-cloud-amd64 \
	/boot/vmlinuz-*-amd64; do
	[ ! -r "$GUEST_KERNEL" ] || break
done

need_guest()
{
	[ -n "${CFS_LONG-}" ] || skip "only in check-long"
	need_programs qemu-system-x86_64 busybox cpio modprobe ldd
	[ -r "$GUEST_KERNEL" ] || skip "no kernel for a guest in /boot"
	GUEST_VERSION=${GUEST_KERNEL##*/vmlinuz-}
	[ -d "/lib/modules/$GUEST_VERSION" ] || skip "no modules for a guest"
	file=$(command -v busybox)
	! ldd "$file" >/dev/null 2>&1 || skip "busybox is not static"
}

# The modules "$@" and what they need, into the folder $G of the guest; an
# order in which they load is in lib/order.
guest_modules()
{
	local module path

	for module; do
		modprobe -S "$GUEST_VERSION" --show-depends "$module" |
		while read -r _ path _; do
			[ -f "$path" ] || continue
			grep -qxF "${path##*/}" "$G/lib/order" && continue
			cp "$path" "$G/lib/"
			echo "${path##*/}" >>"$G/lib/order"
		done
	done
}

# The programs "$@" and their libraries.
guest_programs()
{
	local program file

	for program; do
		file=$(command -v "$program")
		cp "$file" "$G/bin/"
		ldd "$file" 2>/dev/null | grep -o '/[^ ]*' |
		while read -r file; do
			mkdir -p "$G/${file%/*}"
			[ -e "$G/$file" ] || cp -L "$file" "$G/$file"
		done
	done
}

guest_begin()
{
	G=$BATS_TEST_TMPDIR/guest
	mkdir -p "$G"/{bin,lib,proc,sys,dev,mnt,tmp}
	: >"$G/lib/order"
	cp "$(command -v busybox)" "$G/bin/busybox"
	guest_modules virtio_pci virtio_net
}

# Run the script on standard input in the guest, with options of QEMU; what it
# says is in the file console, and "it is well" in the end if no command of it
# failed.
guest_start()
{
	{
		cat <<-'END'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		export PATH=/bin
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs dev /dev
		while read -r m; do insmod /lib/$m; done </lib/order
		ip link set lo up
		ip link set eth0 up
		ip addr add 10.0.2.15/24 dev eth0
		ip route add default via 10.0.2.2
		sh -e /script && echo it is well
		sync
		poweroff -f
		END
	} >"$G/init"
	cat >"$G/script"
	chmod 755 "$G/init"
	(cd "$G" && find . | cpio -o -H newc --quiet) | gzip -1 >initrd.gz
	qemu-system-x86_64 -M q35 -accel tcg -cpu max -m 512 -nodefaults \
		-no-user-config -display none -no-reboot \
		-serial "file:$PWD/console" -kernel "$GUEST_KERNEL" \
		-initrd initrd.gz -append 'console=ttyS0 quiet panic=-1' \
		-nic user,model=virtio-net-pci "$@" </dev/null >qemu.log 2>&1 \
		3>&- &
	GUEST=$!
	SERVERS+=("$GUEST")
}

# Until the guest has said $1, at most $2 seconds (300).
guest_says()
{
	local i

	for ((i = 0; i < ${2:-300} * 10; i++)); do
		! grep -q -- "$1" console 2>/dev/null || return 0
		kill -0 "$GUEST" 2>/dev/null || break
		sleep 0.1
	done
	grep -q -- "$1" console 2>/dev/null && return
	cat qemu.log console
	return 1
}

guest_end()
{
	guest_says 'it is well' "$@"
	wait "$GUEST" || :
}
