#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Manual page, --help and the tools' own tables agree: what a tool takes is
# described, and what is described is taken.

load helpers

setup_file() {
	cd "$BATS_TEST_DIRNAME/../.." || return 1
	load helpers
	TOOLS=
	for tool in "$CFS_BUILD"/bin/*; do
		[[ -x $tool && $tool != *.so ]] || continue
		"$tool" --list-verbs >/dev/null 2>&1 || continue
		TOOLS+=" ${tool##*/}"
	done
	export TOOLS
}

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return 1
	[ -n "$TOOLS" ] || skip "no tools are built"
}

# Long options of a tool, one a line, without the dashes.
long_options() {
	"$1" --list-options | cut -f2 | grep -vx -e - | sort -u
}

# Words behind "Fl -" of a page: what it describes.
described_options() {
	grep -E '^\.' "man/$1.8" | grep -oE '\bFl -[a-z][a-z0-9-]*' |
		sed 's/Fl -//' | sort -u
}

# Lines of $1 that are not in $2.
missing() {
	comm -23 <(sort -u <<<"$1") <(sort -u <<<"$2")
}

@test "every tool has a manual page" {
	for tool in $TOOLS; do
		[ -e "man/$tool.8" ] || { echo "no man/$tool.8"; false; }
	done
}

@test "manual pages have no faults that mandoc knows" {
	command -v mandoc >/dev/null || skip "no mandoc"
	run mandoc -Tlint -Wwarning man/*.[1-8]
	[ "$output" = "" ]
}

@test "every option is in the manual page" {
	for tool in $TOOLS; do
		run missing "$(long_options "$tool")" \
			"$(described_options "$tool")"
		[ "$output" = "" ] || { echo "$tool: $output"; false; }
	done
}

@test "every option of the manual page is taken" {
	for tool in $TOOLS; do
		run missing "$(described_options "$tool")" \
			"$(long_options "$tool")"
		[ "$output" = "" ] || { echo "$tool: $output"; false; }
	done
}

@test "every letter of an option stands beside its name in the page" {
	for tool in $TOOLS; do
		while read -r letter name; do
			grep -qE "^\.It Fl $letter , Fl -$name( |$)" \
				"man/$tool.8" ||
				{ echo "$tool: -$letter --$name"; false; }
		done < <("$tool" --list-options |
			awk -F'\t' '$2 != "-" && $3 != "-" { print $3, $2 }' |
			sort -u)
	done
}

@test "every verb is in the manual page, and no other" {
	for tool in $TOOLS; do
		verbs=$("$tool" --list-verbs | cut -f1 | { grep -vx -e - || :; })
		[ -n "$verbs" ] || continue
		page=$(grep -oE '^\.It Cm [a-z-]+' "man/$tool.8" |
			sed 's/.*Cm //' | sort -u)
		run missing "$verbs" "$page"
		[ "$output" = "" ] || { echo "$tool: $output"; false; }
		run missing "$page" "$verbs"
		[ "$output" = "" ] || { echo "$tool: no verb $output"; false; }
	done
}

@test "an option of one verb is described with that verb" {
	for tool in $TOOLS; do
		while read -r verb name; do
			awk -v verb="$verb" -v name="$name" '
			/^\.It Cm / { in_verb = $3 == verb }
			/^\.Sh / { in_verb = 0 }
			in_verb && /^\.It Fl / &&
				$0 ~ "Fl -" name "( |$)" { found = 1 }
			END { exit !found }' "man/$tool.8" ||
				{ echo "$tool $verb --$name"; false; }
		done < <("$tool" --list-options --json | jq -r '.options[] |
			select(.verb and .name and (.is_common | not)) |
			"\(.verb) \(.name)"')
	done
}

@test "--help of every verb shows each of its options" {
	for tool in $TOOLS; do
		while IFS=$'\t' read -r verb name _; do
			[[ $name != - && $verb != '*' ]] || continue
			[ "$verb" != - ] || verb=
			# shellcheck disable=SC2086
			"$tool" $verb --help | grep -qE -- "--$name( |\[|\$)" ||
				{ echo "$tool $verb --$name"; false; }
		done < <("$tool" --list-options)
	done
}

@test "--help has examples, fits 80 columns and ends with 0" {
	for tool in $TOOLS; do
		for verb in "" $("$tool" --list-verbs | cut -f1 |
				{ grep -vx -e - || :; }); do
			# shellcheck disable=SC2086
			run -0 "$tool" $verb --help
			[[ $output == Usage:\ $tool* ]]
			[[ $output == *Examples:* ]]
			! grep -E '.{81}' <<<"${output%Examples:*}"
		done
	done
}

@test "fsck.cfs describes the options of fsck(8) that it takes" {
	ln -s "$(command -v cfsck-heal)" "$BATS_TEST_TMPDIR/fsck.cfs"
	for letter in $("$BATS_TEST_TMPDIR/fsck.cfs" --list-options |
			awk -F'\t' '$2 == "-" { print $3 }'); do
		awk '/^\.Ss fsck.cfs/ { on = 1 } /^\.Sh/ { on = 0 } on' \
			man/cfsck-heal.8 | grep -qE "\bFl [A-Za-z , ]*$letter" ||
			{ echo "-$letter"; false; }
	done
}

@test "every test and model that cfs(7) names is there" {
	local named path

	named=$(grep -oE '(tests|contrib)/[a-z_/-]+(\.(c|bats|pml))?' man/cfs.7 |
		sort -u)
	[ "$(wc -l <<<"$named")" -gt 20 ]
	while read -r path; do
		[ -e "$path" ] || { echo "no $path"; return 1; }
	done <<<"$named"
}
