# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Formatting a file that ext4 cannot hold: it lies in an XFS on a loop device.

# shellcheck source=bench/format.sh
. bench/format.sh
CASE_TITLE='Format a sparse file of 64 TiB'

run_case()
{
	format_on_xfs || return 0
	FORMAT_EXT4_ROUNDS=3
	format_case 64T "$MNT" format_ext4
}
