#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# slicectl: what it shows, and that what it changes is so afterwards.

load helpers

setup() {
	cfs_setup
}

# One value of a volume.
of_volume() {
	slicectl show --json "$P:$1" | jq -r ".volume.$2"
}

# ----------------------------------------------------------------- pools

@test "pools finds a pool in a directory, once for all its devices" {
	mkdir d
	mkcfs -q -L lab --size 64M d/a.img d/b.img
	echo text >d/other
	run -0 slicectl pools --json d
	[ "$(jq_output '.pools | length')" = 1 ]
	[ "$(jq_output '.pools[0].label')" = lab ]
	[ "$(jq_output '.pools[0].state')" = ok ]
	[ "$(jq_output '.pools[0].devices | length')" = 2 ]
}

@test "pools looks into the working directory and CFS_SEARCH by itself" {
	mkdir d
	mkcfs -q -L here --size 64M "$P"
	mkcfs -q -L there --size 64M d/a.img
	run -0 slicectl pools --json
	[ "$(jq_output '[.pools[].label] | contains(["here"])')" = true ]
	[ "$(jq_output '[.pools[].label] | contains(["there"])')" = false ]
	CFS_SEARCH=$PWD/d run -0 slicectl pools --json
	[ "$(jq_output '[.pools[].label] | contains(["there"])')" = true ]
}

@test "pools counts devices that --search finds" {
	mkdir d e
	mkcfs -q --size 64M d/a.img d/b.img
	mv d/b.img e/
	run -9 slicectl pools d
	run -0 slicectl pools --json --search e d
	[ "$(jq_output '.pools[0].devices_present')" = 2 ]
}

@test "pools of a place without any is an empty list" {
	mkdir d
	run -0 slicectl pools --json d
	[ "$(jq_output '.pools == []')" = true ]
}

@test "pools says 9 when a device is missing" {
	mkdir d
	mkcfs -q --size 64M d/a.img d/b.img
	rm d/b.img
	run -9 slicectl pools --json d
	[ "$(jq_output '.pools[0].state')" = devices_missing ]
	[ "$(jq_output '.pools[0].devices_present')" = 1 ]
}

@test "pools says 9 for a mirror that has lost a device, but opens it" {
	mkdir d
	mkcfs -q --mirror --size 64M d/a.img d/b.img
	rm d/b.img
	run -9 slicectl pools --json d
	[ "$(jq_output '.pools[0].state')" = degraded ]
}

@test "pools says 6 for one that is nearly full" {
	mkdir d
	P=d/pool.img
	make_pool
	pattern 16384 >src
	make_lun a 64M
	cfscp -q src "$P:a" 2>/dev/null || true
	run -6 slicectl pools --json d
	[ "$(jq_output '.pools[0].state')" = nearly_full ]
}

@test "pools does not wait for one that is in use" {
	not_beside "it answers"
	make_pool
	mkfifo pipe
	mkcfs "$P:held" --lun auto --from - <pipe >/dev/null 3>&- &
	pid=$!
	exec 7>pipe
	printf x >&7
	sleep 0.3
	SECONDS=0
	run -0 slicectl pools --json "$P"
	[ "$SECONDS" -lt 3 ]
	[ "$(jq_output '.pools[0].state')" = busy ]
	exec 7>&-
	wait "$pid"
}

# -------------------------------------------------------------------- ls

@test "ls shows volumes as they stand behind POOL:" {
	make_pool
	make_lun vm0 16M 8
	mkcfs -q "$P:tree" --tree
	snapctl take -q "$P:vm0@a"
	snapctl clone -q "$P:vm0@a" c1
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '[.volumes[].name] | join(" ")')" = "tree vm0 vm0/c1" ]
	[ "$(jq_output '[.volumes[].kind] | join(" ")')" = "tree lun lun" ]
	[ "$(jq_output '.volumes[1].size_bytes')" = 16777216 ]
	[ "$(jq_output '.volumes[1].snapshots')" = 1 ]
	[ "$(jq_output '.volumes[2].origin')" = vm0@a ]
	[ "$(jq_output '.volumes[1].used_bytes')" -ge 32768 ]
	[ "$(jq_output '.volumes[1].shared_bytes')" -ge 32768 ]
	[ "$(jq_output '.volumes[2].shared_bytes')" -ge 32768 ]
}

@test "ls of one container, and of one clone" {
	make_pool
	make_lun vm0
	make_lun vm1
	snapctl take -q "$P:vm0@a"
	snapctl clone -q "$P:vm0@a" c1
	run -0 slicectl ls --json "$P:vm0"
	[ "$(jq_output '[.volumes[].name] | join(" ")')" = "vm0 vm0/c1" ]
	run -0 slicectl ls --json "$P:vm0/c1"
	[ "$(jq_output '[.volumes[].name] | join(" ")')" = "vm0/c1" ]
}

@test "ls of what is not there is 3" {
	make_pool
	run -3 --separate-stderr slicectl ls "$P:vm0"
	says "slicectl: $P:vm0: no such volume"
}

@test "ls as text has a header and aligned columns" {
	make_pool
	make_lun vm0
	run -0 slicectl ls "$P"
	[[ ${lines[0]} == NAME\ *KIND\ *SIZE\ *USED\ *SHARED\ *SNAPSHOTS* ]]
	[[ ${lines[1]} == vm0\ *lun\ *16\ MiB* ]]
}

# ------------------------------------------------------------------ show

@test "show of a pool, a volume and a snapshot" {
	make_pool
	make_lun vm0
	snapctl take -q --note why "$P:vm0@a"
	run -0 slicectl show --json "$P"
	[ "$(jq_output .pool.containers)" = 1 ]
	[ "$(jq_output .pool.state)" = ok ]
	run -0 slicectl show --json "$P:vm0"
	[ "$(jq_output .volume.state)" = clean ]
	run -0 slicectl show --json "$P:vm0@a"
	[ "$(jq_output .snapshot.note)" = why ]
	run -0 slicectl show "$P:vm0@a"
	[[ $output == *"Note:"*why* ]]
}

@test "show of a snapshot that is not there is 3" {
	make_pool
	make_lun vm0
	run -3 --separate-stderr slicectl show "$P:vm0@a"
	says "slicectl: $P:vm0@a: no such snapshot"
}

# -------------------------------------------------------------------- df

@test "df's slices add up" {
	make_pool
	make_lun vm0 16M 64
	run -0 slicectl df --json "$P"
	[ "$(jq_output '.free_slices + .lent_slices + .frozen_slices +
		.damaged_slices <= .total_slices')" = true ]
	[ "$(jq_output '.lent_slices > 0')" = true ]
	[ "$(jq_output '[.devices[].total_slices] | add == .[0]')" = true ] ||
	[ "$(jq_output '([.devices[].total_slices] | add) == .total_slices')" \
	  = true ]
}

@test "what is written is what df has less" {
	make_pool
	make_lun small 4M 1
	before=$(slicectl df --json "$P" | jq .free_bytes)
	make_lun vm0 16M 2048
	after=$(slicectl df --json "$P" | jq .free_bytes)
	[ $((before - after)) -ge 8388608 ]
	[ $((before - after)) -lt 16777216 ]
}

# ------------------------------------------------------------------- map

@test "map draws every slice of a small pool" {
	make_pool
	make_lun vm0 16M 1024
	run -0 slicectl map "$P"
	[[ ${lines[0]} == "device 0 "*"$P"* ]]
	[[ $output == *█* ]]
	[[ $output == *·* ]]
	LC_ALL=C run -0 slicectl map "$P"
	[[ $output == *'#'* ]]
	! grep -q '[^ -~]' <<<"$output"
}

@test "map's JSON has the slices of each container" {
	make_pool
	make_lun vm0 16M 1024
	make_lun vm1
	run -0 slicectl map --json "$P"
	[ "$(jq_output '[.slices[] | select(.container == "vm0")] |
		length >= 4')" = true ]
	run -0 slicectl map --json "$P:vm1"
	[ "$(jq_output '[.slices[] | select(.container == "vm0")] |
		length')" = 0 ]
}

# ------------------------------------------------------------------- set

@test "set changes the label, also as others see it" {
	make_pool
	run -0 slicectl set "$P" label=lab
	run -0 slicectl show --json "$P"
	[ "$(jq_output .pool.label)" = lab ]
	run -0 slicectl pools --json "$P"
	[ "$(jq_output '.pools[0].label')" = lab ]
}

@test "set takes several keys, and times and sizes as people write them" {
	make_pool
	run -0 slicectl set "$P" lease_period=30s clock_drift=500 cache=64M
	run -0 slicectl show --json "$P"
	[ "$(jq_output .pool.lease_period_ns)" = 30000000000 ]
	[ "$(jq_output .pool.clock_drift_ppm)" = 500 ]
	[ "$(jq_output .pool.cache_bytes)" = 67108864 ]
}

@test "set checked, of a pool or of a volume" {
	make_pool
	make_lun vm0
	[ "$(slicectl show --json "$P" | jq .pool.is_checked)" = false ]
	run -0 slicectl set "$P:vm0" checked=yes
	[ "$(of_volume vm0 is_checked)" = true ]
	[ "$(slicectl show --json "$P" | jq .pool.is_checked)" = false ]
	run -0 slicectl set "$P" checked=yes
	run -0 slicectl set "$P:vm0" checked=no
	[ "$(of_volume vm0 is_checked)" = false ]
	slicectl show "$P" | grep -q '^Checked: *yes$'
	run -2 --separate-stderr slicectl set "$P" checked=perhaps
	says "slicectl: $P: checked: yes or no"
}

@test "set of a limit holds writes, and none lifts it" {
	make_pool
	make_lun vm0 16M
	pattern 2048 >src
	run -0 slicectl set "$P:vm0" limit=4M
	[ "$(of_volume vm0 limit_bytes)" = 4194304 ]
	run -6 cfscp src "$P:vm0"
	run -0 slicectl set "$P:vm0" limit=none
	run -0 cfscp src "$P:vm0"
}

@test "a key that is none, or of something else, changes nothing" {
	make_pool
	make_lun vm0
	before=$(sum_of "$P")
	run -2 --separate-stderr slicectl set "$P" label=x colour=red
	says "slicectl: set: 'colour' is no setting: Try 'slicectl set --help'."
	run -2 slicectl set "$P:vm0" label=x
	run -2 slicectl set "$P" limit=4M
	run -2 slicectl set "$P" label
	run -2 slicectl set "$P" label=a label=b
	[ "$(sum_of "$P")" = "$before" ]
}

@test "a value that is none is 2" {
	make_pool
	run -2 slicectl set "$P" lease_period=soon
	run -2 slicectl set "$P" clock_drift=-1
	run -2 slicectl set "$P" mirror=maybe
}

# ------------------------------------------------------------------- add

@test "add brings a device, and its slices are used" {
	make_pool
	truncate -s 64M more.img
	before=$(slicectl df --json "$P" | jq .free_bytes)
	run -0 slicectl add --json "$P" more.img
	[ "$(jq_output '.devices[0].path')" = more.img ]
	after=$(slicectl df --json "$P" | jq .free_bytes)
	[ $((after - before)) -ge 33554432 ]
	pattern 14000 >src
	mkcfs -q "$P:a" --lun auto --from src
	cfscp -q "more.img:a" - | cmp - src
}

@test "add refuses what mkcfs refuses" {
	make_pool
	truncate -s 64M more.img
	printf x | dd of=more.img bs=1 seek=5000 conv=notrunc status=none
	run -5 --separate-stderr slicectl add "$P" more.img
	says "slicectl: more.img: holds data: give --force to overwrite it"
	run -5 slicectl add -f "$P" more.img
	run -0 slicectl add -f -y "$P" more.img
	run -3 slicectl add "$P" nothing.img
	run -4 slicectl add -f -y "$P" "$P"
}

@test "add refuses a device that is too small" {
	make_pool
	truncate -s 1M more.img
	run -2 slicectl add "$P" more.img
	run -0 slicectl df --json "$P"
	[ "$(jq_output '.devices | length')" = 1 ]
}

# ---------------------------------------------------------------- resize

@test "resize grows a LUN, to a size and by one" {
	make_pool
	make_lun vm0 16M 16
	run -0 slicectl resize --json "$P:vm0" 32M
	[ "$(jq_output .old_size_bytes)" = 16777216 ]
	[ "$(jq_output .size_bytes)" = 33554432 ]
	run -0 slicectl resize "$P:vm0" +16M
	[ "$(of_volume vm0 size_bytes)" = 50331648 ]
	cfscp -q --length 64K "$P:vm0" - | cmp - vm0.src
}

@test "resize asks before it shrinks" {
	make_pool
	make_lun vm0 16M
	run -5 --separate-stderr slicectl resize "$P:vm0" 8M
	says "slicectl: $P:vm0: this destroys the last 8 MiB of the LUN: give\
 --yes to do it"
	[ "$(of_volume vm0 size_bytes)" = 16777216 ]
	run -0 slicectl resize -y "$P:vm0" 8M
	[ "$(of_volume vm0 size_bytes)" = 8388608 ]
}

@test "what was cut off by a shrink does not come back" {
	make_pool
	make_lun vm0 16M 4096
	slicectl resize -q -y "$P:vm0" 4M
	slicectl resize -q "$P:vm0" 16M
	cfscp -q --offset 4M --length 12M "$P:vm0" - | cmp -n 12582912 - \
		/dev/zero
}

@test "a snapshot keeps its size when the LUN shrinks" {
	make_pool
	make_lun vm0 16M 4096
	snapctl take -q "$P:vm0@a"
	slicectl resize -q -y "$P:vm0" 4M
	cfscp -q "$P:vm0@a" - | cmp - vm0.src
}

@test "resize refuses a size that is none, and a tree" {
	make_pool
	make_lun vm0
	mkcfs -q "$P:t" --tree
	run -2 slicectl resize "$P:vm0" 4097
	run -2 slicectl resize "$P:vm0" 0
	run -2 slicectl resize "$P:vm0" +20E
	run -2 slicectl resize "$P:t" 8M
}

@test "resize uses a file that has grown" {
	make_pool
	make_lun vm0 16M 16
	before=$(slicectl df --json "$P" | jq .total_slices)
	truncate -s 128M "$P"
	run -0 slicectl resize --json "$P" "$P"
	[ "$(jq_output .old_total_slices)" = "$before" ]
	[ "$(jq_output '.total_slices > .old_total_slices')" = true ]
	pattern 20000 >src
	mkcfs -q "$P:a" --lun auto --from src
	cfscp -q "$P:a" - | cmp - src
	run -0 cfsck-heal check "$P"
}

# ------------------------------------------------------------------ trim

@test "trim gives a removed volume's space back to the host" {
	make_pool
	make_lun vm0 64M 4096
	full=$(du -k "$P" | cut -f1)
	slicectl rm -q -y "$P:vm0"
	run -0 slicectl trim --json "$P"
	[ "$(jq_output '.discarded_bytes > 0')" = true ]
	[ "$(du -k "$P" | cut -f1)" -lt $((full - 8192)) ]
}

# ---------------------------------------------------------------- rename

@test "rename a container: clones and snapshots go with it" {
	make_pool
	make_lun vm0 16M 16
	snapctl take -q "$P:vm0@a"
	snapctl clone -q "$P:vm0@a" c1
	run -0 slicectl rename --json "$P:vm0" web
	[ "$(jq_output .name)" = web ]
	cfscp -q --length 64K "$P:web/c1" - | cmp - vm0.src
	cfscp -q --length 64K "$P:web@a" - | cmp - vm0.src
	run -3 slicectl show "$P:vm0"
}

@test "rename a clone within its container" {
	make_pool
	make_lun vm0
	snapctl take -q "$P:vm0@a"
	snapctl clone -q "$P:vm0@a" c1
	run -0 slicectl rename "$P:vm0/c1" c2
	run -0 slicectl rename "$P:vm0/c2" vm0/c3
	run -0 slicectl show "$P:vm0/c3"
	run -2 slicectl rename "$P:vm0/c3" vm1/c3
}

@test "rename to a name that is taken is 1" {
	make_pool
	make_lun a
	make_lun b
	run -1 slicectl rename "$P:a" b
	run -0 slicectl show "$P:a"
}

# -------------------------------------------------------------------- rm

@test "rm asks, and removes with --yes" {
	make_pool
	make_lun vm0
	run -5 --separate-stderr slicectl rm "$P:vm0"
	says "slicectl: $P:vm0: this destroys all data of volume vm0: give --yes\
 to do it"
	run -0 slicectl show "$P:vm0"
	run -0 slicectl rm -y "$P:vm0"
	run -3 slicectl show "$P:vm0"
}

@test "rm of a volume with snapshots or clones needs -r" {
	make_pool
	make_lun vm0
	snapctl take -q "$P:vm0@a"
	run -4 --separate-stderr slicectl rm -y "$P:vm0"
	says "slicectl: $P:vm0: has 1 snapshot and 0 clones: give -r to remove\
 them with it"
	run -0 slicectl rm -y -r "$P:vm0"
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '.volumes | length')" = 0 ]
}

@test "rm of a clone leaves its origin" {
	make_pool
	make_lun vm0 16M 16
	snapctl take -q "$P:vm0@a"
	snapctl clone -q "$P:vm0@a" c1
	run -0 slicectl rm -y "$P:vm0/c1"
	cfscp -q --length 64K "$P:vm0" - | cmp - vm0.src
	run -0 snapctl rm -y "$P:vm0@a"
	run -0 cfsck-heal check "$P"
}

@test "rm of many: each is tried, each failure named, the worst counts" {
	make_pool
	make_lun a
	make_lun c
	snapctl take -q "$P:c@s"
	run -4 --separate-stderr slicectl rm -y "$P:a" "$P:b" "$P:c"
	[ "${#stderr_lines[@]}" = 2 ]
	[ "${stderr_lines[0]}" = "slicectl: $P:b: no such volume" ]
	[[ ${stderr_lines[1]} == "slicectl: $P:c: has 1 snapshot"* ]]
	run -0 slicectl ls --json "$P"
	[ "$(jq_output '[.volumes[].name] | join(" ")')" = c ]
}

@test "rm gives the space back at once" {
	make_pool
	pattern 9000 >src
	for round in 1 2 3; do
		mkcfs -q "$P:a" --lun auto --from src
		slicectl rm -q -y "$P:a"
	done
	run -0 cfsck-heal check "$P"
}

@test "nobody is kept from the pool while rm asks" {
	command -v script >/dev/null || skip "no script(1)"
	make_pool
	make_lun vm0
	mkfifo pipe
	script -qec "slicectl rm $P:vm0" /dev/null <pipe >asked 3>&- &
	pid=$!
	exec 7>pipe
	for i in {1..50}; do
		grep -q 'Go on?' asked && break
		sleep 0.1
	done
	run -0 slicectl ls --wait 0 "$P"
	printf 'y\n' >&7
	wait "$pid"
	exec 7>&-
	run -3 slicectl show "$P:vm0"
}

@test "add refuses the pool's own devices always, with 4" {
	make_pool
	truncate -s 64M more.img
	slicectl add -q "$P" more.img
	run -4 --separate-stderr slicectl add "$P" more.img
	says "slicectl: more.img: is device 1 of this pool"
	run -4 --separate-stderr slicectl add -f -y "$P" "./$P"
	says "slicectl: ./$P: is device 0 of this pool"
	slicectl df -q "$P"
}

@test "rename says which name is taken" {
	make_pool
	make_lun vm0
	make_lun vm1
	run -1 --separate-stderr slicectl rename "$P:vm0" vm1
	says "slicectl: $P:vm0: vm1 exists already: choose another name"
}

@test "map --svg draws every slice, and escapes names" {
	P='a&b <c>.img'
	make_pool
	make_lun vm0 1M 16
	run -0 slicectl map --svg map.svg "$P"
	[ "$output" = "" ]
	python3 -c 'import sys, xml.dom.minidom as d
rects = d.parse(sys.argv[1]).getElementsByTagName("rect")
print(len([r for r in rects if r.getElementsByTagName("title")]))' \
		map.svg >count
	[ "$(cat count)" = 62 ]
	grep -q 'lent, vm0, ' map.svg
	grep -q 'a&amp;b &lt;c&gt;.img' map.svg
	[ "$(slicectl map --svg - "$P")" = "$(cat map.svg)" ]
	echo old >keep.svg
	run -3 --separate-stderr slicectl map --svg no/map.svg "$P"
	says "slicectl: no/map.svg: No such file or directory"
	run -3 slicectl map --svg keep.svg "$P:vm1"
	[ "$(cat keep.svg)" = old ]
	[ "$(ls -A | grep -c svg)" = 2 ]
}

@test "map --hilbert draws the same cells, each in a place of its own" {
	make_pool
	make_lun vm0 1M 16
	slicectl map --svg rows.svg "$P"
	slicectl map --svg curve.svg --hilbert "$P"
	titles() { grep -o '<title>[^<]*' "$1" | sort; }
	diff <(titles rows.svg) <(titles curve.svg)
	grep -o "<rect x='[0-9]*' y='[0-9]*'[^>]*><title>slice [0-9]*" \
		curve.svg | sed -E "s/<rect x='([0-9]*)' y='([0-9]*)'.*slice \
([0-9]*)/\1 \2 \3/;s/.*x='([0-9]*)' y='([0-9]*)'.* ([0-9]+)$/\1 \2 \3/" \
		>places
	[ "$(wc -l <places)" = 62 ]
	[ "$(cut -d' ' -f1,2 places | sort -u | wc -l)" = 62 ]
	# Neighbours on the device are neighbours here: 12 pixels apart.
	sort -n -k3 places | awk 'NR > 1 {
		d = ($1 - x) ^ 2 + ($2 - y) ^ 2
		if (d != 144) exit 1
	} { x = $1; y = $2 }'
	run -2 slicectl map --hilbert "$P"
}

@test "map --html is a report in one file, without scripts" {
	P='a&b <c>.img'
	make_pool
	make_lun vm0 1M 16
	snapctl take -q "$P:vm0@monday"
	slicectl map --html report.html "$P"
	python3 -c 'import sys, html.parser as h
class P(h.HTMLParser):
    tags, text = [], ""
    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for k, v in attrs:
            assert not (v or "").startswith(("http", "//")), v
    def handle_data(self, data):
        self.text += data
p = P()
p.feed(open(sys.argv[1]).read())
assert not {"script", "link", "img", "iframe"} & set(p.tags)
assert "vm0@monday" in p.text and "a&b <c>.img" in p.text
assert p.tags.count("rect") == 2 * 62 + 2
assert "No damage is known." in p.text' report.html
	[ "$(slicectl map --html - "$P" | grep -c "<h2>")" = 5 ]
	run -2 slicectl map --html report.html "$P:vm0"
}

@test "the shell takes lines, and the pool is known" {
	make_pool
	make_lun vm0 1M 16
	run -0 --separate-stderr slicectl shell "$P" <<-'END'
		ls :vm0
		set label=tank
		rename :vm0 disk
		df
		show :disk
	END
	[[ $output == *"vm0 "* && $output == *"disk"* ]]
	[ "$(slicectl show --json "$P" | jq -r .pool.label)" = tank ]
	run -3 slicectl shell "$P" <<<$'show :none\nls'
	run -2 slicectl shell "$P" <<<'frobnicate'
	run -3 slicectl shell none.img </dev/null
}

@test "the shell completes names and keeps its history" {
	command -v script >/dev/null || skip "no script(1)"
	make_pool
	make_lun vm0 1M 16
	snapctl take -q "$P:vm0@monday"
	export XDG_STATE_HOME=$PWD/state
	wait_typed() {
		for _ in {1..200}; do
			! grep -qi "$1" typed || return 0
			sleep 0.05
		done
		return 1
	}
	{
		wait_typed '> '
		printf 'sho\t:v\t\n'
		wait_typed created
		printf 'show :vm0@\t\n'
		wait_typed stamp
		printf 'exit\n'
	} | TERM=dumb script -fqec "slicectl shell $P" typed >/dev/null
	grep -q '^show :vm0@monday' state/cfs/slicectl.history
	[ "$(stat -c %a state/cfs/slicectl.history)" = 600 ]
}
