# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion for cfsmount, made by contrib/gen-completions.

_cfsmount()
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
		options='--options -o --foreground -f --help -h --version -V --quiet -q --verbose -v --color --wait --search' ;;
	esac
	case $verb,$prev in
	,--options|,-o)
		kind=files ;;
	,--color)
		words='auto always never' ;;
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
complete -F _cfsmount cfsmount
