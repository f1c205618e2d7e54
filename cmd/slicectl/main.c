/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slicectl: the space of a pool; its devices, slices and volumes. */
#include "slicectl/slicectl.h"

static const struct cfs_verb *const verbs[] = { &slicectl_pools,
						&slicectl_ls,
						&slicectl_show,
						&slicectl_df,
						&slicectl_map,
						&slicectl_set,
						&slicectl_add,
						&slicectl_evacuate,
						&slicectl_remove,
						&slicectl_replace,
						&slicectl_resize,
						&slicectl_provision,
						&slicectl_trim,
						&slicectl_rename,
						&slicectl_rm,
						&slicectl_shell,
						NULL };

const struct cfs_tool slicectl_tool = {
	.name = "slicectl",
	.help = "space: devices, slices, volumes",
	.examples = "slicectl ls pool.img\n"
		    "slicectl df pool.img\n"
		    "slicectl resize pool.img:vm0 +10G",
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	return cfs_tool_main(&slicectl_tool, argc, argv);
}
