#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The completions load in their shells and offer what the tools take: each
# verb, and behind it each of its options.  What a tool takes is asked of the
# tool, so a table that changes without its completions fails here.

bats_require_minimum_version 1.5.0

setup_file() {
	cd "$BATS_TEST_DIRNAME/../.." || return 1
	export CFS_BIN=${CFS_BIN:-$PWD/build/bin}
	export COMPLETIONS=${COMPLETIONS:-$PWD/completions}
	TOOLS=
	for tool in "$CFS_BIN"/*; do
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

# Verbs of TOOL, one a line.
verbs_of() {
	"$CFS_BIN/$1" --list-verbs | cut -f1 | grep -vx -e -
}

# "VERB OPTION" lines of TOOL, long and short; VERB is "." where there is none.
options_of() {
	"$CFS_BIN/$1" --list-options | awk -F'\t' '{
		verb = $1 == "-" || $1 == "*" ? "." : $1
		if ($2 != "-") print verb, "--" $2
		if ($3 != "-") print verb, "-" $3
	}' | sort -u
}

# Compare "VERB WORD" lines: what is taken ($1) must be offered ($2).
all_offered() {
	local missing

	missing=$(comm -23 <(sort -u <<<"$1") <(sort -u <<<"$2"))
	[ -z "$missing" ] && return
	echo "not offered by $3:"
	echo "$missing"
	return 1
}

@test "completions are those that the tools' tables give" {
	run contrib/gen-completions --check $TOOLS
	[ "$output" = "" ]
	[ "$status" -eq 0 ]
}

@test "bash offers every verb and option" {
	for tool in $TOOLS; do
		offered=$(bash --norc -c '
			. "$COMPLETIONS/$1.bash" || exit
			function=$(complete -p "$1") || exit
			function=${function#*-F }
			function=${function%% *}
			ask() {
				COMP_WORDS=("$@")
				COMP_CWORD=$(($# - 1))
				"$function" 2>/dev/null
			}
			ask "$1" ""
			printf "%s\n" "${COMPREPLY[@]}" | sed "s/^/verb /"
			for verb in . $2; do
				if [ "$verb" = . ]; then
					ask "$1" -
				else
					ask "$1" "$verb" -
				fi
				printf "%s\n" "${COMPREPLY[@]}" |
					sed "s/^/$verb /"
			done' - "$tool" "$(verbs_of "$tool" | tr '\n' ' ')")
		all_offered "$(options_of "$tool"
			verbs_of "$tool" | sed 's/^/verb /')" \
			"$offered" "$tool.bash"
	done
}

@test "bash offers the words an option takes, also behind =" {
	set -- $TOOLS
	run bash --norc -c '
		. "$COMPLETIONS/$1.bash" || exit
		function=$(complete -p "$1")
		function=${function#*-F }
		COMP_WORDS=("$1" --color a)
		COMP_CWORD=2
		"${function%% *}"
		echo "${COMPREPLY[@]}"
		COMP_WORDS=("$1" --color = ne)
		COMP_CWORD=3
		"${function%% *}"
		echo "${COMPREPLY[@]}"' - "$1"
	[ "$output" = $'auto always\nnever' ]
}

@test "zsh offers every verb and option" {
	command -v zsh >/dev/null || skip "no zsh"
	for tool in $TOOLS; do
		# Stand-ins say what the real functions would be told.
		offered=$(zsh -f -c '
			compdef() { :; }
			_arguments() {
				local spec
				for spec; do
					[[ $spec == \*-* ]] || continue
					spec=${${spec#\*}%%\[*}
					print -r -- "$verb ${spec%[=+]}"
				done
				[[ ${@[-1]} == *_verbs ]] && ${${@[-1]}##*:}
			}
			_describe() {
				local one
				for one in "${(@P)${@[-1]}}"; do
					print -r -- "verb ${one%%:*}"
				done
			}
			. $COMPLETIONS/_$1 || exit
			for verb in . ${=2}; do
				words=($1 $verb "")
				[[ $verb == . ]] && words=($1 "")
				CURRENT=$#words
				as=$verb
				_$1 | sed "s/^$as /$as /; s/^ /. /"
			done' - "$tool" "$(verbs_of "$tool" | tr '\n' ' ')")
		all_offered "$(options_of "$tool"
			verbs_of "$tool" | sed 's/^/verb /')" \
			"$offered" "_$tool"
	done
}

@test "zsh autoloads the completions" {
	command -v zsh >/dev/null || skip "no zsh"
	for tool in $TOOLS; do
		run zsh -f -c '
			fpath=($COMPLETIONS $fpath)
			autoload -U compinit && compinit -u -D || exit
			print -r -- $_comps[$1]
			autoload +X _$1' - "$tool"
		[ "$output" = "_$tool" ]
		[ "$status" -eq 0 ]
	done
}

@test "fish offers every verb and option" {
	command -v fish >/dev/null || skip "no fish"
	export HOME=$BATS_TEST_TMPDIR PATH=$CFS_BIN:$PATH
	for tool in $TOOLS; do
		offered=$(fish --no-config -c '
			source $COMPLETIONS/$argv[1].fish; or exit
			complete -C "$argv[1] " | sed "s/^/verb /"
			for verb in . $argv[2..]
				set line "$argv[1] $verb"
				test $verb = .; and set line $argv[1]
				complete -C "$line -" | sed "s/^/$verb /"
				complete -C "$line --" | sed "s/^/$verb /"
			end' "$tool" $(verbs_of "$tool") | cut -f1)
		# After "=" fish shows an option that takes a value.
		offered=$(sed 's/=$//' <<<"$offered")
		all_offered "$(options_of "$tool"
			verbs_of "$tool" | sed 's/^/verb /')" \
			"$offered" "$tool.fish"
	done
}

@test "help of every verb fits 80 columns and shows every option" {
	for tool in $TOOLS; do
		for verb in . $(verbs_of "$tool"); do
			set -- "$verb"
			[ "$verb" != . ] || set --
			run -0 --separate-stderr "$CFS_BIN/$tool" "$@" --help
			[ -z "$stderr" ]
			if grep -nE '.{81}' <<<"$output"; then
				return 1
			fi
			while read -r name option; do
				[ "$name" = "$verb" ] || continue
				grep -qE -- "(^|[ ,])$option([ ,]|\$)" \
					<<<"$output"
			done <<<"$(options_of "$tool")"
		done
	done
}
