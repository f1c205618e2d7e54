#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Devices that leave a pool, come to it, are lost and replaced: slicectl
# evacuate, remove, replace, resize of a device, set mirror; and pools of which
# devices are missing, doubled or in another order.

load helpers

setup() {
	cfs_setup
	not_beside "slices move only in a pool that is the command's alone"
}

# A pool of files of 64 MiB ($SIZE), with a LUN of which 24 MiB are written.
make_devices() {
	mkcfs -q --size "${SIZE:-64M}" --slice 1M "$@"
	P=$1
	pattern 6144 >src
	mkcfs -q "$P:a" --lun 32M --from src
	snapctl take "$P:a@s"
	mkcfs -q "$P:t" --tree
	cfscp -q src "$P:t:/f"
}

# All that make_devices wrote is there, by the device $1, and all is sound.
all_there() {
	cfscp -q --length 24M "$1:a" - | cmp - src
	cfscp -q --length 24M "$1:a@s" - | cmp - src
	cfscp -q "$1:t:/f" - | cmp - src
	run -0 cfsck-heal check "$1"
	run -0 cfsck-heal scrub "$1"
	[[ $output == *"all good" ]]
}

# Field $2 of the device $1, as df shows it to $3 ($P).
of_device() {
	slicectl df --json "${3:-$P}" 2>/dev/null |
		jq -r --arg d "$PWD/$1" \
			".devices[] | select(.path == \$d) | .$2"
}

# The UUID of the missing device of the pool $1.
missing_uuid() {
	slicectl df --json "$1" 2>/dev/null |
		jq -r '.devices[] | select(.state == "missing") | .uuid'
}

# -------------------------------------------------------------- evacuate

@test "evacuate moves a device's slices, and remove takes it out" {
	make_devices a.img b.img c.img
	[ "$(of_device a.img lent_slices)" -gt 4 ]
	run -0 slicectl evacuate --json b.img a.img
	[ "$(jq_output .schema)" = cfs.slicectl.evacuate ]
	[ "$(jq_output .moved_slices)" -gt 4 ]
	[ "$(jq_output .moved_bytes)" = \
		$(($(jq_output .moved_slices) * 1048576)) ]
	[ "$(jq_output .need_slices)" = "$(jq_output .moved_slices)" ]
	[ "$(of_device a.img lent_slices)" = 0 ]
	[ "$(of_device a.img state)" = evacuated ]
	all_there b.img
	# Nothing new comes there.
	mkcfs -q b.img:more --lun 16M --from src 2>/dev/null || true
	[ "$(of_device a.img lent_slices)" = 0 ]
	run -0 slicectl remove b.img a.img
	rm a.img
	all_there c.img
	run -0 slicectl df --json b.img
	[ "$(jq_output '.devices | length')" = 2 ]
	[ "$(jq_output .device_count)" = 2 ]
	[ "$(jq_output .state)" = ok ]
}

@test "evacuate of each device in turn, onto used slices too" {
	make_devices a.img b.img c.img
	for d in a b c a b c; do
		run -0 slicectl evacuate "$P" $d.img
		run -0 slicectl resize "$P" $d.img
		[ "$(of_device $d.img state)" = ok ]
	done
	all_there "$P"
	rm -rf away && mkdir away
	run -0 slicectl evacuate "$P" b.img
	run -0 slicectl remove "$P" b.img
	mv b.img away
	all_there "$P"
}

@test "evacuate says at once that there is too little room, in bytes" {
	make_devices a.img b.img
	mkcfs -q "$P:big" --lun 60M
	head -c 40M /dev/urandom | cfscp -q - "$P:big"
	need=$(of_device a.img lent_slices)
	before=$(of_device b.img lent_slices)
	run -6 --separate-stderr slicectl evacuate "$P" a.img
	[[ $stderr =~ ^"slicectl: a.img: "([0-9]+)" bytes ("([0-9]+)" slices) must have room on other devices, and "([0-9]+)" bytes (" ]]
	[ "${BASH_REMATCH[2]}" -le "$need" ]
	[ "${BASH_REMATCH[1]}" = $((BASH_REMATCH[2] * 1048576)) ]
	[ "${BASH_REMATCH[1]}" -gt "${BASH_REMATCH[3]}" ]
	[ -z "$output" ]
	[ "$(of_device a.img state)" = ok ]
	[ "$(of_device b.img lent_slices)" -le "$before" ]
	run -6 slicectl evacuate -n "$P" a.img
	all_there "$P"
}

@test "evacuate as a dry run says what it would move, and writes nothing" {
	make_devices a.img b.img
	before="$(sum_of a.img) $(sum_of b.img)"
	run -0 slicectl evacuate -n --json "$P" a.img
	[ "$(jq_output .is_dry_run)" = true ]
	[ "$(jq_output .need_slices)" -gt 4 ]
	[ "$(jq_output .moved_slices)" = 0 ]
	[ "$(sum_of a.img) $(sum_of b.img)" = "$before" ]
}

@test "evacuate shows how far it is" {
	make_devices a.img b.img
	run -0 --separate-stderr slicectl evacuate --progress=json "$P" a.img
	[ "$(jq -s 'last | .done_bytes == .total_bytes' <<<"$stderr")" = true ]
}

@test "an evacuation that is killed goes on" {
	make_devices a.img b.img c.img
	for delay in 0.01 0.03 0.06 0.1; do
		slicectl evacuate "$P" a.img 3>&- &
		sleep $delay
		kill -KILL $! 2>/dev/null || true
		wait $! || true
		all_there b.img
	done
	run -0 slicectl evacuate "$P" a.img
	[ "$(of_device a.img lent_slices)" = 0 ]
	all_there "$P"
}

@test "damage that no copy heals is moved along, and said" {
	make_devices a.img b.img
	at=$(find_block 100 x a.img)
	from=a.img to=b.img
	[ -n "$at" ] || { at=$(find_block 100 x b.img); from=b.img to=a.img; }
	flip_byte "$from" "$at"
	run -7 --separate-stderr slicectl evacuate --json "$P" "$from"
	[ "$(jq_output .damaged_blocks)" = 1 ]
	[[ $stderr == *"1 damaged block was moved as it is"* ]]
	run -4 cfsck-heal scrub --json "$to"
	[ "$(jq_output '.damage | length')" = 1 ]
}

@test "a mirror's good copy is taken in place of a bad one" {
	mkcfs -q --mirror --size 64M --slice 1M a.img b.img c.img
	P=a.img
	pattern 4096 >src
	mkcfs -q "$P:a" --lun 16M --from src
	for d in a b c; do
		at=$(find_block 7 x $d.img)
		[ -z "$at" ] || break
	done
	flip_byte $d.img "$at"
	run -0 slicectl evacuate --json "$P" $d.img
	[ "$(jq_output .damaged_blocks)" = 0 ]
	run -0 slicectl remove "$P" $d.img
	rm $d.img
	for d in a b c; do [ ! -e $d.img ] || break; done
	run -0 cfsck-heal scrub $d.img
	[[ $output == *"all good" ]]
}

@test "evacuate, remove and replace name what they cannot do" {
	make_devices a.img b.img
	truncate -s 64M other.img
	run -3 --separate-stderr slicectl evacuate "$P" other.img
	says "slicectl: other.img: not a device of this pool"
	run -4 --separate-stderr slicectl remove "$P" a.img
	[[ $stderr == "slicectl: a.img: "*" of its slices are in use: evacuate it first" ]]
	run -3 slicectl replace -y "$P" other.img more.img
	run -5 slicectl replace "$P" b.img other.img
	run -0 slicectl evacuate "$P" b.img
	run -0 slicectl remove -n "$P" b.img
	run -0 slicectl remove "$P" b.img
	run -1 --separate-stderr slicectl remove "$P" a.img
	says "slicectl: a.img: is the pool's only device"
	all_there "$P"
}

# ---------------------------------------------------- beside a manager

WRITERS=()

teardown() {
	touch stop
	kill ${WRITERS[@]+"${WRITERS[@]}"} 2>/dev/null || true
	release_pools
}

# Writes files of the pattern into the tree, and pieces into the LUN, and reads
# all again, until the file "stop" is there; says so in "wrote", how often.
write_on() {
	local i=0

	while [ ! -e stop ]; do
		i=$((i + 1))
		pattern 256 "w$i" >w.src
		cfscp -q w.src "$P:t:/w$((i % 8))" || return 1
		cfscp -q --offset 24M --length 1M w.src "$P:a" || return 1
		cfscp -q "$P:t:/w$((i % 8))" - | cmp - w.src || return 1
		cfscp -q --offset 24M --length 1M "$P:a" - | cmp - w.src ||
			return 1
		echo "$i" >wrote.new
		mv wrote.new wrote
	done
}

@test "evacuate, remove, replace and set mirror beside cfsd and writers" {
	SIZE=192M make_devices a.img b.img c.img
	truncate -s 192M d.img
	serve_pool "$P"
	write_on 3>&- 8>&- &
	writer=$!
	WRITERS+=("$writer")
	until_true "[ -e wrote ]"
	run -0 slicectl evacuate --json "$P" b.img
	[ "$(jq_output .moved_slices)" -gt 4 ]
	[ "$(of_device b.img lent_slices)" = 0 ]
	run -0 slicectl remove "$P" b.img
	[ "$(of_device b.img state)" = "" ]
	# The manager has let go of it: it is anybody's.
	mkcfs -q -f -y b.img
	was=$(cat wrote)
	run -0 slicectl replace -y "$P" c.img d.img
	run -4 slicectl remove "$P" d.img
	run -0 slicectl set "$P" mirror=yes
	[ "$(slicectl df --json "$P" | jq .is_mirror)" = true ]
	until_true "[ \$(cat wrote) -gt $was ]"
	touch stop
	wait "$writer"
	all_there "$P"
	release_pools
	all_there d.img
	rm a.img
	cfscp -q --length 24M d.img:a - | cmp - src
}

@test "an evacuation under a client that writes by itself all the time" {
	SIZE=192M make_devices a.img b.img c.img
	mkcfs -q "$P:big" --lun 40M
	serve_pool "$P"
	pattern 8192 big >big.src
	mkfifo pipe
	timeout --foreground 120 cfscp -q pipe "$P:big" 3>&- &
	writer=$!
	WRITERS+=("$writer")
	exec 8>pipe
	dd if=big.src bs=1M count=12 status=none >&8
	run -0 slicectl evacuate "$P" a.img
	dd if=big.src bs=1M skip=12 count=12 status=none >&8
	run -0 slicectl evacuate "$P" b.img
	[ "$(of_device a.img lent_slices)" = 0 ]
	[ "$(of_device b.img lent_slices)" = 0 ]
	dd if=big.src bs=1M skip=24 status=none >&8
	exec 8>&-
	wait "$writer"
	cfscp -q --length 32M "$P:big" - | cmp - big.src
	all_there "$P"
}

@test "evacuate in the background: df tells how far, and cfsd goes on" {
	SIZE=192M make_devices a.img b.img
	serve_pool "$P"
	run -0 slicectl evacuate --background "$P" b.img
	[[ $output == "b.img: is being evacuated: "*" slices "*" to move" ]]
	[ "$(of_device b.img state)" != ok ]
	kill -KILL "$CFSD"
	wait "$CFSD_TIMER" || true
	# Whoever serves the pool next goes on.
	serve_pool "$P"
	until_true '[ "$(of_device b.img state)" = evacuated ]'
	[ "$(of_device b.img is_moving)" = false ]
	all_there "$P"
	# Taken into use again, it is not emptied any more.
	run -0 slicectl resize "$P" b.img
	[ "$(of_device b.img state)" = ok ]
}

@test "evacuate in the background where nobody serves the pool" {
	make_devices a.img b.img
	export CFS_RUN=$BATS_TEST_TMPDIR/run
	run -0 slicectl evacuate --background --json "$P" b.img
	[ "$(jq_output .need_slices)" -gt 4 ]
	[ "$(jq_output .moved_slices)" = 0 ]
	until_true '[ "$(of_device b.img state)" = evacuated ]'
	run -0 slicectl remove "$P" b.img
	rm b.img
	all_there "$P"
	truncate -s 64M c.img
	run -0 slicectl replace --background -y "$P" a.img c.img
	until_true '[ "$(slicectl df --json c.img 2>/dev/null |
		jq .device_count)" = 1 ]'
	rm a.img
	all_there c.img
	run -3 slicectl evacuate --background c.img nothing.img
	[ "$output" = "slicectl: nothing.img: not a device of this pool" ]
}

@test "a manager killed again and again in an evacuation, with writers" {
	SIZE=192M make_devices a.img b.img
	for i in 1 2 3 4 5 6; do
		serve_pool "$P"
		pattern 512 "k$i" >k.src
		run -0 slicectl evacuate --background "$P" b.img
		cfscp -q k.src "$P:t:/k$i"
		cfscp -q --offset 24M --length 2M k.src "$P:a"
		kill -KILL "$CFSD"
		wait "$CFSD_TIMER" || true
		cfscp -q "$P:t:/k$i" - | cmp - k.src
		cfscp -q --offset 24M --length 2M "$P:a" - | cmp - k.src
	done
	run -0 slicectl evacuate "$P" b.img
	[ "$(of_device b.img lent_slices)" = 0 ]
	run -0 slicectl remove "$P" b.img
	all_there "$P"
}

@test "slices of a shared pool, or beside another owner, are not moved" {
	mkcfs -q --shared --size 128M s1.img s2.img
	mkcfs -q s1.img:x --lun 8M
	run -4 --separate-stderr slicectl evacuate s1.img s2.img
	says "slicectl: s2.img: slices of a pool that hosts share cannot be moved"
	run -4 slicectl evacuate --background s1.img s2.img
}

# --------------------------------------------------------------- resize

@test "a device that was evacuated may become shorter" {
	make_devices a.img b.img
	truncate -s 128M b.img
	run -0 slicectl resize --json "$P" b.img
	[ "$(jq_output .total_slices)" -gt "$(jq_output .old_total_slices)" ]
	run -0 slicectl evacuate "$P" b.img
	truncate -s 80M b.img
	run -9 --separate-stderr slicectl df "$P"
	[[ $stderr == *"b.img: shorter than its label says"* ]]
	run -0 slicectl resize --json "$P" b.img
	[ "$(jq_output .old_total_slices)" = 126 ]
	[ "$(jq_output .total_slices)" = 78 ]
	[ "$(of_device b.img state)" = ok ]
	all_there "$P"
}

@test "a device that is in use to its end does not become shorter" {
	make_devices a.img b.img
	mkcfs -q "$P:full" --lun 90M
	head -c 60M /dev/urandom | cfscp -q - "$P:full"
	cp b.img whole
	truncate -s 40M b.img
	run -4 slicectl resize "$P" b.img
	cp whole b.img
	all_there "$P"
}

# -------------------------------------------------------------- mirrors

@test "a pool of one device becomes a mirror, and lives without either half" {
	make_devices a.img
	run -2 slicectl set "$P" mirror=yes
	truncate -s 96M b.img
	slicectl add -q "$P" b.img
	run -0 slicectl set "$P" mirror=yes
	run -0 slicectl show --json "$P"
	[ "$(jq_output .pool.is_mirror)" = true ]
	[ "$(of_device a.img lent_slices)" = "$(of_device b.img lent_slices)" ]
	all_there "$P"
	run -2 slicectl set "$P" mirror=no
	mkdir away
	for d in a b; do
		mv $d.img away
		for keep in a b; do [ ! -e $keep.img ] || break; done
		cfscp -q --length 24M $keep.img:a - 2>/dev/null | cmp - src
		run -9 slicectl pools .
		mv away/$d.img .
	done
	all_there "$P"
}

@test "a pool that is too full becomes no mirror" {
	make_devices a.img
	truncate -s 64M b.img
	slicectl add -q "$P" b.img
	mkcfs -q "$P:full" --lun 90M
	head -c 50M /dev/urandom | cfscp -q - "$P:full"
	run -6 --separate-stderr slicectl set "$P" mirror=yes
	[[ $stderr == *" bytes ("*" must have room on other devices"* ]]
	run -0 slicectl show --json "$P"
	[ "$(jq_output .pool.is_mirror)" = false ]
	all_there "$P"
}

@test "a mirror loses a device, goes on, and gets another one" {
	mkcfs -q --mirror --size 64M --slice 1M a.img b.img
	P=b.img
	pattern 6144 >src
	mkcfs -q "$P:a" --lun 32M --from src
	snapctl take "$P:a@s"
	rm a.img
	mkcfs -q "$P:t" --tree 2>/dev/null
	cfscp -q src "$P:t:/f" 2>/dev/null
	uuid=$(missing_uuid "$P")
	truncate -s 80M new.img
	run -5 slicectl replace "$P" "$uuid" new.img
	run -0 --separate-stderr slicectl replace -n -y --json "$P" "$uuid" new.img
	[ "$(jq_output .need_slices)" -gt 6 ]
	run -0 --separate-stderr slicectl replace -y --json "$P" "$uuid" new.img
	[ "$(jq_output .moved_slices)" -gt 6 ]
	[ "$(jq_output .replaced)" = "$uuid" ]
	run -0 --separate-stderr slicectl df --json "$P"
	[ -z "$stderr" ]
	[ "$(jq_output .state)" = ok ]
	all_there "$P"
	mkdir away && mv b.img away
	mv new.img away/b.new && mkdir only && mv away/b.new only
	cfscp -q "only/b.new:t:/f" - | cmp - src
	mv away/b.img .
	mkdir none && mv b.img none
	cfscp -q "only/b.new:t:/f" - 2>/dev/null | cmp - src
}

@test "a new device that is too small is refused before anything is done" {
	mkcfs -q --mirror --size 128M --slice 1M a.img b.img
	P=b.img
	mkcfs -q "$P:a" --lun 100M
	head -c 90M /dev/urandom | cfscp -q - "$P:a"
	rm a.img
	uuid=$(missing_uuid "$P")
	truncate -s 64M new.img
	before=$(sum_of new.img)
	run -6 slicectl replace -y "$P" "$uuid" new.img
	[ "$(sum_of new.img)" = "$before" ]
	[ "$(missing_uuid "$P")" = "$uuid" ]
}

@test "a device that was away comes back as a new one" {
	mkcfs -q --mirror --size 64M --slice 1M a.img b.img
	P=b.img
	mkdir away && mv a.img away
	pattern 6144 >src
	for v in a a2; do mkcfs -q "$P:$v" --lun 32M --from src 2>/dev/null; done
	mv away/a.img .
	run -0 --separate-stderr slicectl df "$P"
	[[ $stderr == *"a.img: left out since it missed writes: replace it" ]]
	run -5 slicectl replace -y "$P" a.img a.img
	run -0 slicectl replace -y -f "$P" a.img a.img
	run -0 --separate-stderr cfsck-heal scrub "$P"
	[ -z "$stderr" ]
	mkdir elsewhere && mv a.img elsewhere
	mv b.img away
	cfscp -q --length 24M elsewhere/a.img:a - 2>/dev/null | cmp - src
}

@test "a replacement that is killed goes on" {
	mkcfs -q --mirror --size 64M --slice 1M a.img b.img
	P=b.img
	pattern 6144 >src
	mkcfs -q "$P:a" --lun 32M --from src
	rm a.img
	uuid=$(missing_uuid "$P")
	truncate -s 64M new.img
	for delay in 0.02 0.04 0.08; do
		slicectl replace -q -y "$P" "$uuid" new.img 3>&- 2>/dev/null &
		sleep $delay
		kill -KILL $! 2>/dev/null || true
		wait $! || true
		cfscp -q --length 24M "$P:a" - 2>/dev/null | cmp - src
	done
	# Unless one of them had come to its end.
	[ -z "$(missing_uuid "$P")" ] ||
		slicectl replace -q -y -f "$P" "$uuid" new.img
	run -0 cfsck-heal check "$P"
	run -0 slicectl df --json "$P"
	[ "$(jq_output .state)" = ok ]
	[ "$(jq_output '.devices | length')" = 2 ]
}

@test "halves that both went on stay as they are until one is given up" {
	mkcfs -q --mirror --size 64M --slice 1M a.img b.img
	pattern 6144 >src
	mkcfs -q a.img:a --lun 32M --from src
	mkdir one two && mv a.img one
	mv b.img two
	mkcfs -q one/a.img:only-a --lun 4M 2>/dev/null
	mkcfs -q two/b.img:only-b --lun 4M 2>/dev/null
	mv one/a.img two/b.img .
	before="$(sum_of a.img) $(sum_of b.img)"
	for d in a b; do
		run -7 --separate-stderr slicectl ls $d.img
		[[ $stderr == *"were each used without the other: give one up with slicectl replace -f" ]]
		run -7 mkcfs $d.img:more --lun 4M
		run -7 slicectl replace -y a.img b.img b.img
	done
	[ "$(sum_of a.img) $(sum_of b.img)" = "$before" ]
	run -0 slicectl replace -y -f a.img b.img b.img
	run -0 slicectl ls --json b.img
	[ "$(jq_output '[.volumes[].name] | join(" ")')" = "a only-a" ]
	cfscp -q --length 24M b.img:a - | cmp - src
	run -0 cfsck-heal check b.img
}

@test "a mirror keeps two devices" {
	mkcfs -q --mirror --size 64M --slice 1M a.img b.img c.img
	mkcfs -q a.img:a --lun 16M
	slicectl evacuate -q a.img c.img
	slicectl remove -q a.img c.img
	run -1 --separate-stderr slicectl remove a.img b.img
	says "slicectl: b.img: a mirror has two devices at least: replace it by another one"
	run -6 slicectl evacuate a.img b.img
}

# ------------------------------------------------- sets that are not whole

@test "two devices with one identity are refused, and left alone" {
	make_devices a.img b.img
	cp b.img copy.img
	before="$(sum_of a.img) $(sum_of b.img) $(sum_of copy.img)"
	run -7 --separate-stderr slicectl df copy.img
	[[ $stderr == *"two devices with one identity: "*"copy.img"* ]]
	run -7 mkcfs copy.img:more --lun 4M
	[ "$(sum_of a.img) $(sum_of b.img) $(sum_of copy.img)" = "$before" ]
	rm copy.img
	all_there a.img
}

@test "a pool half of which is missing names what is, and is not touched" {
	make_devices a.img b.img c.img
	mkdir away && mv b.img c.img away
	before=$(sum_of a.img)
	run -9 --separate-stderr slicectl df a.img
	[[ $stderr == *"device 1 of the pool ("*"b.img) is missing"* ]]
	run -9 slicectl evacuate a.img b.img
	[ "$(sum_of a.img)" = "$before" ]
	run -0 slicectl df --search away a.img
	mv away/* .
	all_there a.img
}

@test "devices under other names and in another order are the same pool" {
	make_devices a.img b.img c.img
	mv a.img x && mv b.img a.img && mv c.img b.img && mv x c.img
	for d in a b c; do
		all_there $d.img
	done
	run -0 slicectl evacuate a.img b.img
	run -0 slicectl remove a.img b.img
	rm b.img
	mv a.img y && mv c.img a.img && mv y c.img
	all_there a.img
}

@test "a device that was taken out is none of the pool's" {
	make_devices a.img b.img
	cp b.img copy
	slicectl evacuate -q a.img b.img
	slicectl remove -q a.img b.img
	run -8 slicectl df b.img
	# Its label as it was before.
	mv copy b.img
	run -0 --separate-stderr slicectl df a.img
	[[ $stderr == *"b.img: carries a label of the pool"*"left alone" ]] ||
		[ -z "$stderr" ]
	run -7 --separate-stderr slicectl df b.img
	[[ $stderr == *"is not, or no longer, a device of it"* ]]
	run -0 slicectl add -f -y a.img b.img
	all_there a.img
}

@test "devices of different sizes are filled in proportion" {
	truncate -s 64M a.img
	truncate -s 256M b.img
	mkcfs -q --slice 1M a.img b.img
	mkcfs -q a.img:a --lun 200M
	head -c 120M /dev/urandom >src
	cfscp -q src a.img:a
	[ "$(of_device a.img lent_slices a.img)" -lt 20 ]
	[ "$(of_device b.img lent_slices a.img)" -gt 100 ]
	truncate -s 160M c.img
	slicectl add -q a.img c.img
	run -0 slicectl evacuate a.img b.img
	cfscp -q --length 120M a.img:a - | cmp - src
}
