# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Formatting at the size of a small guest: what is left is process start.

# Rounds are short, and differences small.
FORMAT_ROUNDS=${FORMAT_ROUNDS:-31}
# shellcheck source=bench/format.sh
. bench/format.sh
CASE_TITLE='Format a sparse file of 10 GiB'

run_case()
{
	FORMAT_EXT4_ROUNDS=$FORMAT_ROUNDS
	format_case 10G "$WORK" format_ext4
}
