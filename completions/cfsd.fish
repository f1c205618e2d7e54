# SPDX-License-Identifier: GPL-3.0-or-later
# fish completion for cfsd, made by contrib/gen-completions.

complete -c cfsd -l listen -r -F -d 'answer here too: unix:PATH or tcp:HOST:PORT'
complete -c cfsd -l tls-cert -r -F -d 'our certificate (PEM)'
complete -c cfsd -l tls-key -r -F -d 'its private key (PEM)'
complete -c cfsd -l tls-ca -r -F -d 'certificates of who signs the clients\' (PEM)'
complete -c cfsd -s h -l help -d 'show this help and exit'
complete -c cfsd -s V -l version -d 'show the version and exit'
complete -c cfsd -l json -d 'print one JSON document'
complete -c cfsd -l json-lines -d 'print the items alone as JSON, one a line'
complete -c cfsd -s q -l quiet -d 'print errors only'
complete -c cfsd -s v -l verbose -d 'print more, on standard error'
complete -c cfsd -l color -x -a 'auto always never' -d 'colour; auto: on a terminal only'
complete -c cfsd -l wait -x -d 'wait so long for another holder (10)'
complete -c cfsd -l search -x -a '(__fish_complete_directories)' -d 'look for the pool\'s devices here too; may be repeated'
