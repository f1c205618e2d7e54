#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# mkcfs: pools of files and devices, what it refuses to overwrite, containers
# empty and filled.  What came in is read back with cfscp.

load helpers

setup() {
	cfs_setup
}

teardown() {
	release_pools
	[ -z "${LOOP-}" ] || losetup -d "$LOOP"
	[ ! -d mnt ] || umount -l mnt 2>/dev/null || true
}

# A file of 64 MiB with an ext4 called root.
make_ext4() {
	command -v mkfs.ext4 >/dev/null || skip "no mkfs.ext4"
	truncate -s 64M "$1"
	mkfs.ext4 -q -L root "$1"
}

# Everything of LUN $1 on standard output.
read_lun() {
	cfscp -q "$P:$1" -
}

# ----------------------------------------------------------------- pools

@test "a pool in a new file: --size makes it, sparse" {
	run -0 mkcfs --json --size 1G -L lab "$P"
	[ "$(jq_output .schema)" = cfs.mkcfs.pool ]
	[ "$(jq_output .pool.label)" = lab ]
	[ "$(jq_output '.pool.devices[0]')" = "$P" ]
	[ "$(jq_output .pool.written_bytes)" -lt 1048576 ]
	[ "$(stat -c %s "$P")" = 1073741824 ]
	[ "$(du -k "$P" | cut -f1)" -lt 1024 ]
}

@test "a file that is not there needs --size" {
	run -3 --separate-stderr mkcfs "$P"
	says "mkcfs: $P: no such file or device: give --size to make a file"
	[ ! -e "$P" ]
}

@test "a file keeps its size without --size, and grows with it" {
	truncate -s 64M "$P"
	run -0 mkcfs "$P"
	[ "$(stat -c %s "$P")" = 67108864 ]
	run -0 mkcfs -f -y --size 128M "$P"
	[ "$(stat -c %s "$P")" = 134217728 ]
}

@test "less than 64 MiB is too small" {
	run -2 --separate-stderr mkcfs --size 63M "$P"
	[[ $stderr == "mkcfs: $P: "*64\ MiB* ]]
	[ ! -e "$P" ]
}

@test "at least half of a pool of 64 MiB holds data" {
	run -0 mkcfs --json --size 64M "$P"
	[ "$(jq_output '.pool.capacity_bytes >= 33554432')" = true ]
}

@test "a pool of 64 MiB takes 32 MiB of data" {
	make_pool
	pattern 8192 >src
	run -0 mkcfs "$P:a" --lun auto --from src
	read_lun a | cmp - src
}

@test "formatting writes little, whatever the size" {
	for size in 10G 1T 8T; do
		run -0 mkcfs --json --size $size "p$size.img"
		[ "$(jq_output '.pool.written_bytes < 1048576')" = true ]
	done
}

@test "--slice is taken, and must be a power of two" {
	run -0 mkcfs --json --slice 2M --size 128M "$P"
	[ "$(jq_output .pool.slice_bytes)" = 2097152 ]
	run -2 mkcfs --slice 3M --size 128M b.img
	run -2 mkcfs --slice 512K --size 128M b.img
	[ ! -e b.img ]
}

@test "a label with what is no text is refused" {
	run -2 mkcfs -L $'a\nb' --size 64M "$P"
	[ ! -e "$P" ]
}

@test "several devices make one pool" {
	run -0 mkcfs --size 64M a.img b.img c.img
	run -0 slicectl df --json b.img
	[ "$(jq_output '.devices | length')" = 3 ]
}

@test "the same device twice is misuse" {
	run -2 mkcfs --size 64M a.img a.img
	truncate -s 64M a.img
	run -2 mkcfs a.img ./a.img
}

@test "a mirror needs two devices" {
	run -2 --separate-stderr mkcfs --mirror --size 64M "$P"
	says "mkcfs: a mirror needs two devices: Try 'mkcfs --help'."
	run -0 mkcfs --mirror --size 64M a.img b.img
	run -0 slicectl show --json a.img
	[ "$(jq_output .pool.is_mirror)" = true ]
}

@test "a dry run says what would be and makes no file" {
	run -0 mkcfs -n --json --size 64M "$P"
	[ "$(jq_output .is_dry_run)" = true ]
	[ "$(jq_output .pool.uuid)" = null ]
	[ ! -e "$P" ]
}

# --------------------------------------------------------- what stands there

@test "an ext4 is refused with its type and label" {
	make_ext4 disk.img
	before=$(sum_of disk.img)
	run -5 --separate-stderr mkcfs disk.img
	says "mkcfs: disk.img: holds ext4 with the label \"root\": give --force\
 to overwrite it"
	[ "$(sum_of disk.img)" = "$before" ]
}

@test "a cfs pool is refused with its label" {
	mkcfs -q -L lab --size 64M "$P"
	before=$(sum_of "$P")
	run -5 --separate-stderr mkcfs "$P"
	says "mkcfs: $P: holds cfs with the label \"lab\": give --force to\
 overwrite it"
	[ "$(sum_of "$P")" = "$before" ]
}

@test "a plain file with data in its first MiB is refused" {
	truncate -s 64M disk.img
	printf x | dd of=disk.img bs=1 seek=1000000 conv=notrunc status=none
	run -5 --separate-stderr mkcfs disk.img
	says "mkcfs: disk.img: holds data: give --force to overwrite it"
}

@test "--force asks, and without a terminal needs --yes" {
	make_ext4 disk.img
	before=$(sum_of disk.img)
	run -5 --separate-stderr mkcfs -f disk.img
	says "mkcfs: disk.img: this destroys ext4 with the label \"root\": give\
 --yes to do it"
	[ "$(sum_of disk.img)" = "$before" ]
}

@test "--force --yes overwrites, and no signature is left" {
	make_ext4 disk.img
	run -0 mkcfs -f -y disk.img
	run -0 slicectl show disk.img
	! blkid -p disk.img | grep -q ext4
}

@test "the question on a terminal is heeded" {
	command -v script >/dev/null || skip "no script(1)"
	make_ext4 disk.img
	run script -qec "mkcfs -f disk.img" /dev/null <<<n
	[ "$status" = 5 ]
	[[ $output == *"Go on? [y/N]"* ]]
	run script -qec "mkcfs -f disk.img" /dev/null <<<y
	[ "$status" = 0 ]
	run -0 slicectl show disk.img
}

@test "a mounted file is refused always" {
	need_root
	make_ext4 disk.img
	mkdir mnt
	mount -o loop disk.img mnt || skip "no loop mounts here"
	run -4 --separate-stderr mkcfs -f -y disk.img
	[[ $stderr == "mkcfs: disk.img: in use: "* ]]
	umount mnt
}

@test "a block device is formatted, and a mounted one is refused" {
	need_root
	truncate -s 64M disk.img
	LOOP=$(losetup -f --show disk.img) || skip "no loop devices here"
	run -0 mkcfs "$LOOP"
	run -0 slicectl show --json "$LOOP"
	run -4 mkcfs -f -y disk.img
	losetup -d "$LOOP"
	make_ext4 disk2.img
	LOOP=$(losetup -f --show disk2.img)
	mkdir mnt
	mount "$LOOP" mnt
	run -4 --separate-stderr mkcfs -f -y "$LOOP"
	says "mkcfs: $LOOP: in use: mounted on $PWD/mnt"
	umount mnt
}

@test "a device of a pool in use is refused always" {
	make_pool
	mkfifo pipe
	mkcfs "$P:held" --lun auto --from - <pipe >/dev/null 3>&- &
	pid=$!
	exec 7>pipe
	printf x >&7
	sleep 0.3
	run -4 mkcfs -f -y --wait 0 "$P"
	exec 7>&-
	wait "$pid"
}

@test "one bad device of several: none is touched" {
	truncate -s 64M a.img
	make_ext4 b.img
	run -5 mkcfs a.img b.img
	[ "$(tr -d '\0' <a.img | wc -c)" = 0 ]
}

@test "a directory and a character device are no devices" {
	mkdir d
	run -2 mkcfs d
	run -2 mkcfs /dev/zero
}

# ------------------------------------------------------------------ LUNs

@test "a LUN is thin, and reads as zeroes" {
	make_pool
	run -0 mkcfs --json "$P:vm0" --lun 1T
	[ "$(jq_output .schema)" = cfs.mkcfs.volume ]
	[ "$(jq_output .volume.name)" = vm0 ]
	[ "$(jq_output .volume.size_bytes)" = 1099511627776 ]
	cfscp -q --length 1M "$P:vm0" - | cmp -n 1048576 - /dev/zero
}

@test "a name that is taken is 1, and the old one stays" {
	make_pool
	make_lun vm0 16M 16
	run -1 --separate-stderr mkcfs "$P:vm0" --lun 32M
	[[ $stderr == "mkcfs: $P:vm0: "* ]]
	read_lun vm0 | cmp -n 65536 - vm0.src
}

@test "a volume without --lun or --tree is misuse" {
	make_pool
	run -2 --separate-stderr mkcfs "$P:vm0"
	[[ $stderr == *"give --lun or --tree"* ]]
}

@test "options of pools and of containers do not mix" {
	make_pool
	run -2 mkcfs "$P:vm0" --lun 4M --mirror
	run -2 mkcfs "$P:vm0" --lun 4M --tree
	run -2 mkcfs --from x --size 64M b.img
	run -2 mkcfs "$P:vm0" --lun auto
}

@test "a LUN from an image is the image" {
	make_pool
	pattern 1000 >src
	run -0 mkcfs --json "$P:a" --lun auto --from src
	[ "$(jq_output .volume.size_bytes)" = 4096000 ]
	read_lun a | cmp - src
}

@test "--lun auto rounds up to 4096 bytes, and the rest is zero" {
	make_pool
	{ pattern 3; printf tail; } >src
	run -0 mkcfs --json "$P:a" --lun auto --from src
	[ "$(jq_output .volume.size_bytes)" = 16384 ]
	truncate -s 16384 src
	read_lun a | cmp - src
}

@test "an image may be smaller than its LUN" {
	make_pool
	pattern 5 >src
	run -0 mkcfs "$P:a" --lun 8M --from src
	truncate -s 8M src
	read_lun a | cmp - src
}

@test "an image that is larger than its LUN is 6, and nothing is left" {
	make_pool
	pattern 5 >src
	run -6 --separate-stderr mkcfs "$P:a" --lun 16K --from src
	says "mkcfs: src: 20480 bytes do not fit the LUN"
	run -6 --separate-stderr mkcfs "$P:a" --lun 16K --from - <<<"$(cat src)"
	run -6 bash -c "cat src | mkcfs $P:a --lun 16K --from -"
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes | length')" = 0 ]
}

@test "a LUN from a pipe grows with what comes" {
	make_pool
	{ pattern 700; printf tail; } >src
	cat src | mkcfs -q "$P:a" --lun auto --from -
	run -0 slicectl show --json "$P:a"
	[ "$(jq_output .volume.size_bytes)" = $((701 * 4096)) ]
	truncate -s $((701 * 4096)) src
	read_lun a | cmp - src
}

@test "holes stay holes" {
	make_pool
	truncate -s 10G src
	pattern 16 | dd of=src bs=1M seek=5000 conv=notrunc status=none
	run -0 mkcfs --json "$P:a" --lun auto --from src
	[ "$(jq_output .volume.size_bytes)" = 10737418240 ]
	run -0 slicectl show --json "$P:a"
	[ "$(jq_output '.volume.used_bytes < 1048576')" = true ]
	pattern 16 >data
	cfscp -q --offset 5000M --length 64K "$P:a" - | cmp - data
}

@test "long runs of zeroes become holes, from a pipe too" {
	make_pool
	{ pattern 16; head -c 32M /dev/zero; pattern 16; } >src
	cat src | mkcfs -q "$P:a" --lun auto --from -
	run -0 slicectl show --json "$P:a"
	[ "$(jq_output '.volume.used_bytes < 1048576')" = true ]
	read_lun a | cmp - src
}

@test "an empty image needs a size" {
	make_pool
	: >src
	run -2 --separate-stderr mkcfs "$P:a" --lun auto --from src
	[[ $stderr == *"the image is empty"* ]]
	run -2 mkcfs "$P:a" --lun auto --from - </dev/null
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes | length')" = 0 ]
}

@test "an image that is not there is 3, and nothing is left" {
	make_pool
	run -3 --separate-stderr mkcfs "$P:a" --lun 4M --from nothing
	says "mkcfs: nothing: No such file or directory"
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes | length')" = 0 ]
}

@test "an image that does not fit the pool is 6, and gives all back" {
	make_pool
	free=$(slicectl df --json "$P" | jq .free_bytes)
	pattern 16000 >src
	run -6 --separate-stderr mkcfs "$P:a" --lun auto --from src
	[[ $stderr == "mkcfs: $P:a: "* ]]
	[ "${#stderr_lines[@]}" = 1 ]
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes | length')" = 0 ]
	run -0 slicectl df --json "$P"
	[ "$(jq_output .free_bytes)" -ge $((free - 4194304)) ]
	run -0 cfsck-heal check "$P"
}

@test "--limit bounds a container" {
	make_pool
	pattern 2048 >src
	run -6 mkcfs "$P:a" --lun auto --from src --limit 4M
	run -0 mkcfs "$P:b" --lun auto --from src --limit 16M
	run -0 slicectl show --json "$P:b"
	[ "$(jq_output .volume.limit_bytes)" = 16777216 ]
}

@test "a clone's name is no container to make" {
	make_pool
	run -2 mkcfs "$P:a/b" --lun 4M
}

# ----------------------------------------------------------------- trees

@test "an empty tree" {
	make_pool
	run -0 mkcfs --json "$P:t" --tree
	[ "$(jq_output .volume.kind)" = tree ]
	run -0 cfscp --list --json "$P:t:/"
}

@test "a tree from a directory is the directory" {
	make_pool
	mkdir -p d/sub
	echo hello >d/file
	ln -s file d/link
	ln d/file d/sub/hard
	chmod 640 d/file
	run -0 mkcfs "$P:t" --tree --from d
	cfscp -q "$P:t:/" out
	diff -r d out
	[ "$(stat -c %a out/file)" = 640 ]
	[ "$(readlink out/link)" = file ]
	[ out/file -ef out/sub/hard ]
}

@test "a tree from an archive, from a file and from a pipe" {
	make_pool
	mkdir -p d/sub
	pattern 300 >d/big
	echo hello >d/sub/small
	tar -C d -czf d.tar.gz .
	run -0 mkcfs "$P:a" --tree --from d.tar.gz
	cat d.tar.gz | mkcfs -q "$P:b" --tree --from -
	cfscp -q "$P:a:/" out1
	cfscp -q "$P:b:/" out2
	diff -r d out1
	diff -r d out2
}

@test "an entry that leads out is named, left out, and the rest kept" {
	make_pool
	echo good >good
	tar -cPf a.tar --transform 's,^evil,../evil,' good 2>/dev/null
	echo evil >evil
	tar -rPf a.tar --transform 's,^evil,../evil,' evil
	run -1 --separate-stderr mkcfs "$P:t" --tree --from a.tar
	[[ $stderr == *evil* ]]
	[ "${#stderr_lines[@]}" = 1 ]
	run -0 cfscp "$P:t:/good" -
	[ "$output" = good ]
	[ ! -e ../evil ] || [ ../evil -ef evil ]
}

@test "a cut archive is 7, and nothing is left" {
	make_pool
	mkdir d
	pattern 500 >d/big
	tar -C d -cf d.tar .
	head -c 1000000 d.tar >cut.tar
	run -7 --separate-stderr mkcfs "$P:t" --tree --from cut.tar
	[[ $stderr == "mkcfs: $P:t: "* ]]
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes | length')" = 0 ]
}

@test "what is no archive is 8, and nothing is left" {
	make_pool
	pattern 500 >src
	run -8 mkcfs "$P:t" --tree --from src
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes | length')" = 0 ]
}
