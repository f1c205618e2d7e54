# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion for cfs-export.

_cfs_export()
{
	local cur=${COMP_WORDS[COMP_CWORD]}

	if [ "$COMP_CWORD" = 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W \
			'nbd iscsi nfs smb status --help --version' -- "$cur")
	elif [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W '--chap --list' -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}
complete -o filenames -F _cfs_export cfs-export
