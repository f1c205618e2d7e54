/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cfsck-heal: check, scrub, trace; also fsck.cfs, if it is called so. */
#include "cfsck-heal/cfsck.h"

#include <string.h>

static const struct cfs_verb *const verbs[] = { &cfsck_check, &cfsck_scrub,
						&cfsck_trace, NULL };

static const struct cfs_tool tool = {
	.name = "cfsck-heal",
	.help = "check, scrub, heal",
	.more = "Exit status: 0 clean; 1 damage was found and all of it "
		"healed; 4 damage is left; 8 an operational error; 16 wrong "
		"usage; 32 cancelled. They add up.",
	.examples = "cfsck-heal check pool.img\n"
		    "cfsck-heal scrub pool.img\n"
		    "cfsck-heal trace pool.img --bad",
	.verbs = verbs,
	.is_fsck = true,
};

int main(int argc, char **argv)
{
	const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;

	name = name ? name + 1 : argc > 0 ? argv[0] : "";
	if (!strcmp(name, "fsck.cfs"))
		return cfs_tool_main(&cfsck_fsck_tool, argc, argv);
	return cfs_tool_main(&tool, argc, argv);
}
