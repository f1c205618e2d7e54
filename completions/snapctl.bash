# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion for snapctl, made by contrib/gen-completions.

_snapctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]}
	local prev=${COMP_WORDS[COMP_CWORD - 1]}
	local verb= kind= words= options= i
	local verbs='take ls clone rollback rm prune promote rename hold release tree diff send recv verify'

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
	take)
		options='--note --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --wait --search' ;;
	ls)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --wait --search' ;;
	clone)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --wait --search' ;;
	rollback)
		options='--save --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --yes -y --wait --search' ;;
	rm)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --yes -y --wait --search' ;;
	prune)
		options='--prefix --keep-last --keep-hourly --keep-daily --keep-weekly --keep-monthly --keep-yearly --keep-within --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --yes -y --wait --search' ;;
	promote)
		options='--undo --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --progress --dry-run -n --wait --search' ;;
	rename)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --wait --search' ;;
	hold)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --wait --search' ;;
	release)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --wait --search' ;;
	tree)
		options='--dot --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --wait --search' ;;
	diff)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --wait --search' ;;
	send)
		options='--increment -i --resume --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --progress --dry-run -n --wait --search' ;;
	recv)
		options='--token --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --progress --dry-run -n --force -f --wait --search' ;;
	verify)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --progress' ;;
	esac
	case $verb,$prev in
	,--color)
		words='auto always never' ;;
	take,--note)
		kind=files ;;
	take,--color)
		words='auto always never' ;;
	take,--wait)
		kind=none ;;
	take,--search)
		kind=dirs ;;
	ls,--color)
		words='auto always never' ;;
	ls,--wait)
		kind=none ;;
	ls,--search)
		kind=dirs ;;
	clone,--color)
		words='auto always never' ;;
	clone,--wait)
		kind=none ;;
	clone,--search)
		kind=dirs ;;
	rollback,--save)
		kind=files ;;
	rollback,--color)
		words='auto always never' ;;
	rollback,--wait)
		kind=none ;;
	rollback,--search)
		kind=dirs ;;
	rm,--color)
		words='auto always never' ;;
	rm,--wait)
		kind=none ;;
	rm,--search)
		kind=dirs ;;
	prune,--prefix)
		kind=files ;;
	prune,--keep-last)
		kind=none ;;
	prune,--keep-hourly)
		kind=none ;;
	prune,--keep-daily)
		kind=none ;;
	prune,--keep-weekly)
		kind=none ;;
	prune,--keep-monthly)
		kind=none ;;
	prune,--keep-yearly)
		kind=none ;;
	prune,--keep-within)
		kind=none ;;
	prune,--color)
		words='auto always never' ;;
	prune,--wait)
		kind=none ;;
	prune,--search)
		kind=dirs ;;
	promote,--color)
		words='auto always never' ;;
	promote,--progress)
		words='auto always never json' ;;
	promote,--wait)
		kind=none ;;
	promote,--search)
		kind=dirs ;;
	rename,--color)
		words='auto always never' ;;
	rename,--wait)
		kind=none ;;
	rename,--search)
		kind=dirs ;;
	hold,--color)
		words='auto always never' ;;
	hold,--wait)
		kind=none ;;
	hold,--search)
		kind=dirs ;;
	release,--color)
		words='auto always never' ;;
	release,--wait)
		kind=none ;;
	release,--search)
		kind=dirs ;;
	tree,--color)
		words='auto always never' ;;
	tree,--wait)
		kind=none ;;
	tree,--search)
		kind=dirs ;;
	diff,--color)
		words='auto always never' ;;
	diff,--wait)
		kind=none ;;
	diff,--search)
		kind=dirs ;;
	send,--increment|send,-i)
		kind=files ;;
	send,--resume)
		kind=files ;;
	send,--color)
		words='auto always never' ;;
	send,--progress)
		words='auto always never json' ;;
	send,--wait)
		kind=none ;;
	send,--search)
		kind=dirs ;;
	recv,--color)
		words='auto always never' ;;
	recv,--progress)
		words='auto always never json' ;;
	recv,--wait)
		kind=none ;;
	recv,--search)
		kind=dirs ;;
	verify,--color)
		words='auto always never' ;;
	verify,--progress)
		words='auto always never json' ;;
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
complete -F _snapctl snapctl
