# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion for cfs-export.

_cfs_export()
{
	local cur=${COMP_WORDS[COMP_CWORD]}

	if [ "$COMP_CWORD" = 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W \
			'nbd iscsi nfs smb status --help --version' -- "$cur")
	elif [ "$COMP_CWORD" = 2 ]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}
complete -o filenames -F _cfs_export cfs-export
