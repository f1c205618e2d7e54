# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion for slicectl, made by contrib/gen-completions.

_slicectl()
{
	local cur=${COMP_WORDS[COMP_CWORD]}
	local prev=${COMP_WORDS[COMP_CWORD - 1]}
	local verb= kind= words= options= i
	local verbs='pools ls show df map set add evacuate remove replace resize provision trim rename rm shell'

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
	pools)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --wait --search' ;;
	ls)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --wait --search' ;;
	show)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --wait --search' ;;
	df)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --wait --search' ;;
	map)
		options='--svg --hilbert --html --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --wait --search' ;;
	set)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --progress --dry-run -n --wait --search' ;;
	add)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --yes -y --force -f --wait --search' ;;
	evacuate)
		options='--background --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --progress --dry-run -n --wait --search' ;;
	remove)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --force -f --wait --search' ;;
	replace)
		options='--background --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --progress --dry-run -n --yes -y --force -f --wait --search' ;;
	resize)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --yes -y --wait --search' ;;
	provision)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --wait --search' ;;
	trim)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --progress --dry-run -n --wait --search' ;;
	rename)
		options='--help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --wait --search' ;;
	rm)
		options='--recursive -r --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --dry-run -n --yes -y --wait --search' ;;
	shell)
		options='--help -h --version -V --quiet -q --verbose -v --color --wait --search' ;;
	esac
	case $verb,$prev in
	,--color)
		words='auto always never' ;;
	pools,--color)
		words='auto always never' ;;
	pools,--wait)
		kind=none ;;
	pools,--search)
		kind=dirs ;;
	ls,--color)
		words='auto always never' ;;
	ls,--wait)
		kind=none ;;
	ls,--search)
		kind=dirs ;;
	show,--color)
		words='auto always never' ;;
	show,--wait)
		kind=none ;;
	show,--search)
		kind=dirs ;;
	df,--color)
		words='auto always never' ;;
	df,--wait)
		kind=none ;;
	df,--search)
		kind=dirs ;;
	map,--svg)
		kind=files ;;
	map,--html)
		kind=files ;;
	map,--color)
		words='auto always never' ;;
	map,--wait)
		kind=none ;;
	map,--search)
		kind=dirs ;;
	set,--color)
		words='auto always never' ;;
	set,--progress)
		words='auto always never json' ;;
	set,--wait)
		kind=none ;;
	set,--search)
		kind=dirs ;;
	add,--color)
		words='auto always never' ;;
	add,--wait)
		kind=none ;;
	add,--search)
		kind=dirs ;;
	evacuate,--color)
		words='auto always never' ;;
	evacuate,--progress)
		words='auto always never json' ;;
	evacuate,--wait)
		kind=none ;;
	evacuate,--search)
		kind=dirs ;;
	remove,--color)
		words='auto always never' ;;
	remove,--wait)
		kind=none ;;
	remove,--search)
		kind=dirs ;;
	replace,--color)
		words='auto always never' ;;
	replace,--progress)
		words='auto always never json' ;;
	replace,--wait)
		kind=none ;;
	replace,--search)
		kind=dirs ;;
	resize,--color)
		words='auto always never' ;;
	resize,--wait)
		kind=none ;;
	resize,--search)
		kind=dirs ;;
	provision,--color)
		words='auto always never' ;;
	provision,--wait)
		kind=none ;;
	provision,--search)
		kind=dirs ;;
	trim,--color)
		words='auto always never' ;;
	trim,--progress)
		words='auto always never json' ;;
	trim,--wait)
		kind=none ;;
	trim,--search)
		kind=dirs ;;
	rename,--color)
		words='auto always never' ;;
	rename,--wait)
		kind=none ;;
	rename,--search)
		kind=dirs ;;
	rm,--color)
		words='auto always never' ;;
	rm,--wait)
		kind=none ;;
	rm,--search)
		kind=dirs ;;
	shell,--color)
		words='auto always never' ;;
	shell,--wait)
		kind=none ;;
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
complete -F _slicectl slicectl
