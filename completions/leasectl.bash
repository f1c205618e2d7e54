# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion for leasectl, made by contrib/gen-completions.

_leasectl()
{
	local cur=${COMP_WORDS[COMP_CWORD]}
	local prev=${COMP_WORDS[COMP_CWORD - 1]}
	local verb= kind= words= options= i
	local verbs='status run acquire renew release revoke gone watch shell'

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
	status)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --wait --search' ;;
	run)
		options='--shared --range --conflict-exit-code -E --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --dry-run -n --wait --search' ;;
	acquire)
		options='--shared --range --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --dry-run -n --wait --search' ;;
	renew)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --dry-run -n --wait --search' ;;
	release)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --dry-run -n --wait --search' ;;
	revoke)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --dry-run -n --wait --search' ;;
	gone)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --dry-run -n --wait --search' ;;
	watch)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --search' ;;
	shell)
		options='--help -h --version -V --quiet -q --verbose -v --color --search' ;;
	esac
	case $verb,$prev in
	,--color)
		words='auto always never' ;;
	status,--color)
		words='auto always never' ;;
	status,--wait)
		kind=none ;;
	status,--search)
		kind=dirs ;;
	run,--range)
		kind=none ;;
	run,--conflict-exit-code|run,-E)
		kind=none ;;
	run,--color)
		words='auto always never' ;;
	run,--wait)
		kind=none ;;
	run,--search)
		kind=dirs ;;
	acquire,--range)
		kind=none ;;
	acquire,--color)
		words='auto always never' ;;
	acquire,--wait)
		kind=none ;;
	acquire,--search)
		kind=dirs ;;
	renew,--color)
		words='auto always never' ;;
	renew,--wait)
		kind=none ;;
	renew,--search)
		kind=dirs ;;
	release,--color)
		words='auto always never' ;;
	release,--wait)
		kind=none ;;
	release,--search)
		kind=dirs ;;
	revoke,--color)
		words='auto always never' ;;
	revoke,--wait)
		kind=none ;;
	revoke,--search)
		kind=dirs ;;
	gone,--color)
		words='auto always never' ;;
	gone,--wait)
		kind=none ;;
	gone,--search)
		kind=dirs ;;
	watch,--color)
		words='auto always never' ;;
	watch,--search)
		kind=dirs ;;
	shell,--color)
		words='auto always never' ;;
	shell,--search)
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
complete -F _leasectl leasectl
