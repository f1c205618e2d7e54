/* SPDX-License-Identifier: GPL-3.0-or-later */
/* leasectl: leases, and the manager that hands them out. */
#include "leasectl/leasectl.h"

static const struct cfs_verb *const verbs[] = { &leasectl_status,
						&leasectl_run,
						&leasectl_acquire,
						&leasectl_renew,
						&leasectl_release,
						&leasectl_revoke,
						&leasectl_gone,
						&leasectl_watch,
						&leasectl_shell,
						&leasectl_serve,
						NULL };

const struct cfs_tool leasectl_tool = {
	.name = "leasectl",
	.help = "leases on volumes, files and ranges",
	.more = "A lease is what every reader and writer of a volume takes. "
		"It lasts for a period and is renewed meanwhile; whoever "
		"holds it for itself alone keeps all others out.",
	.examples = "leasectl status pool.img\n"
		    "leasectl run pool.img:vm0 -- backup.sh\n"
		    "leasectl watch --json-lines pool.img",
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	return cfs_tool_main(&leasectl_tool, argc, argv);
}
