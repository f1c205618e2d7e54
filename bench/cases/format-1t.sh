# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Formatting at a size that still fits the host's own file system.

# shellcheck source=bench/format.sh
. bench/format.sh
CASE_TITLE='Format a sparse file of 1 TiB'

run_case()
{
	FORMAT_EXT4_ROUNDS=$FORMAT_ROUNDS
	format_case 1T "$WORK" format_ext4
}
