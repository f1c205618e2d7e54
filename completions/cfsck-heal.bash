# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion for cfsck-heal, made by contrib/gen-completions.

_cfsck_heal()
{
	local cur=${COMP_WORDS[COMP_CWORD]}
	local prev=${COMP_WORDS[COMP_CWORD - 1]}
	local verb= kind= words= options= i
	local verbs='check scrub trace'

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ " $verbs " == *" ${COMP_WORDS[i]} "* ]]; then
			verb=${COMP_WORDS[i]}
			break
		fi
	done
	# bash makes three words of --option=value.
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	case $verb in
	'')
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color' ;;
	check)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --progress --wait --search' ;;
	scrub)
		options='--rate --no-heal --full --continue --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --progress --dry-run -n --wait --search' ;;
	trace)
		options='--at --bad --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --wait --search' ;;
	esac
	case $verb,$prev in
	,--color)
		words='auto always never' ;;
	check,--color)
		words='auto always never' ;;
	check,--progress)
		words='auto always never json' ;;
	check,--wait)
		kind=none ;;
	check,--search)
		kind=dirs ;;
	scrub,--rate)
		kind=none ;;
	scrub,--color)
		words='auto always never' ;;
	scrub,--progress)
		words='auto always never json' ;;
	scrub,--wait)
		kind=none ;;
	scrub,--search)
		kind=dirs ;;
	trace,--at)
		kind=files ;;
	trace,--color)
		words='auto always never' ;;
	trace,--wait)
		kind=none ;;
	trace,--search)
		kind=dirs ;;
	*)
		if [[ $cur == -* ]]; then
			words=$options
		elif [[ -z $verb && -n $verbs ]]; then
			words=$verbs
		else
			kind=files
		fi ;;
	esac
	case $kind in
	files)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
	dirs)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
	*)
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur") ;;
	esac
}
complete -F _cfsck_heal cfsck-heal
