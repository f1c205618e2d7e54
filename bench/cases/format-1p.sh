# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Formatting at a size at which anything in proportion to it shows.  The
# device is simulated: a sparse file in an XFS on a loop device.

# shellcheck source=bench/format.sh
. bench/format.sh
CASE_TITLE='Format a sparse file of 1 PiB'

run_case()
{
	format_on_xfs || return 0
	skip mkfs.ext4 'it would write 16 GiB in every round'
	format_case 1P "$MNT"
}
