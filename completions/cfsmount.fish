# SPDX-License-Identifier: GPL-3.0-or-later
# fish completion for cfsmount, made by contrib/gen-completions.

complete -c cfsmount -s o -l options -r -F -d 'as mount(8) has them; may be repeated'
complete -c cfsmount -s f -l foreground -d 'stay in the foreground'
complete -c cfsmount -s h -l help -d 'show this help and exit'
complete -c cfsmount -s V -l version -d 'show the version and exit'
complete -c cfsmount -s q -l quiet -d 'print errors only'
complete -c cfsmount -s v -l verbose -d 'print more, on standard error'
complete -c cfsmount -l color -x -a 'auto always never' -d 'colour; auto: on a terminal only'
complete -c cfsmount -l wait -x -d 'wait so long for another holder (10)'
complete -c cfsmount -l search -x -a '(__fish_complete_directories)' -d 'look for the pool\'s devices here too; may be repeated'
