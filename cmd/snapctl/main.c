/* SPDX-License-Identifier: GPL-3.0-or-later */
/* snapctl: versions of volumes; snapshots, clones, rollback, streams. */
#include "snapctl/snapctl.h"

static const struct cfs_verb *const verbs[] = {
	&snapctl_take, &snapctl_ls,      &snapctl_clone,   &snapctl_rollback,
	&snapctl_rm,   &snapctl_prune,   &snapctl_promote, &snapctl_rename,
	&snapctl_hold, &snapctl_release, &snapctl_tree,    &snapctl_diff,
	&snapctl_send, &snapctl_recv,    &snapctl_verify,  NULL
};

static const struct cfs_tool tool = {
	.name = "snapctl",
	.help = "versions: snapshots, clones, rollback, streams",
	.examples = "snapctl take pool.img:vm0@monday\n"
		    "snapctl ls pool.img:vm0\n"
		    "snapctl clone pool.img:vm0@monday test",
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	return cfs_tool_main(&tool, argc, argv);
}
