# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion for cfscp, made by contrib/gen-completions.

_cfscp()
{
	local cur=${COMP_WORDS[COMP_CWORD]}
	local prev=${COMP_WORDS[COMP_CWORD - 1]}
	local verb= kind= words= options= i
	local verbs=''

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
		options='--archive --extract --list --mkdir --remove --recursive -r --offset --length --sparse --skip-damaged --help -h --version -V --json --json-lines --quiet -q --verbose -v --color --bytes --progress --dry-run -n --wait --search' ;;
	esac
	case $verb,$prev in
	,--archive)
		kind=files ;;
	,--offset)
		kind=none ;;
	,--length)
		kind=none ;;
	,--color)
		words='auto always never' ;;
	,--progress)
		words='auto always never json' ;;
	,--wait)
		kind=none ;;
	,--search)
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
complete -F _cfscp cfscp
