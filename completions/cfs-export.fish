# SPDX-License-Identifier: GPL-3.0-or-later
# fish completion for cfs-export.

complete -c cfs-export -n __fish_use_subcommand -f -a 'nbd iscsi' -d 'export LUNs'
complete -c cfs-export -n __fish_use_subcommand -f -a 'nfs smb' -d 'export trees'
complete -c cfs-export -n __fish_use_subcommand -f -a status -d 'who is connected'
complete -c cfs-export -s l -l list -d 'print what clients call each volume'
complete -c cfs-export -l chap -r -d 'who may log in over iSCSI'
complete -c cfs-export -s h -l help -d 'show the usage and exit'
complete -c cfs-export -s V -l version -d 'show the version and exit'
