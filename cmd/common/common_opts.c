/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The options that several tools have, defined once, so that -n or --wait
 * mean the same wherever they are taken.
 */
#include "common/tool_priv.h"

const struct cfs_opt cfs_common_opts[] = {
	{ .name = "help",
	  .letter = 'h',
	  .common = CFS_COMMON_ALL,
	  .help = "show this help and exit" },
	{ .name = "version",
	  .letter = 'V',
	  .common = CFS_COMMON_ALL,
	  .help = "show the version and exit" },
	{ .name = "json",
	  .common = CFS_COMMON_JSON,
	  .help = "print one JSON document" },
	{ .name = "json-lines",
	  .common = CFS_COMMON_JSON,
	  .help = "print the items alone as JSON, one a line" },
	{ .name = "quiet",
	  .letter = 'q',
	  .common = CFS_COMMON_ALL,
	  .help = "print errors only" },
	{ .name = "verbose",
	  .letter = 'v',
	  .common = CFS_COMMON_ALL,
	  .conflicts = "quiet",
	  .help = "print more, on standard error" },
	{ .name = "color",
	  .common = CFS_COMMON_ALL,
	  .type = CFS_OPT_CHOICE,
	  .choices = "auto always never",
	  .help = "colour; auto: on a terminal only" },
	{ .name = "bytes",
	  .common = CFS_COMMON_BYTES,
	  .help = "print plain numbers of bytes" },
	{ .name = "progress",
	  .common = CFS_COMMON_PROGRESS,
	  .type = CFS_OPT_CHOICE,
	  .choices = "auto always never json",
	  .help = "progress on standard error; auto: on a terminal only" },
	{ .name = "dry-run",
	  .letter = 'n',
	  .common = CFS_COMMON_DRY_RUN,
	  .help = "show what would be done, change nothing" },
	{ .name = "yes",
	  .letter = 'y',
	  .common = CFS_COMMON_YES,
	  .help = "destroy data without asking" },
	{ .name = "force",
	  .letter = 'f',
	  .common = CFS_COMMON_FORCE,
	  .help = "override a safety check" },
	{ .name = "wait",
	  .common = CFS_COMMON_WAIT,
	  .type = CFS_OPT_DURATION,
	  .argument = "SECONDS",
	  .help = "wait so long for another holder (10)" },
	{ .name = "search",
	  .common = CFS_COMMON_SEARCH,
	  .type = CFS_OPT_STRING,
	  .argument = "DIR",
	  .max_count = CFS_OPT_MANY,
	  .help = "look for the pool's devices here too; may be repeated" },
	{ .name = "list-verbs",
	  .common = CFS_COMMON_TOOL,
	  .is_hidden = true,
	  .help = "print the verbs for programs" },
	{ .name = "list-options",
	  .common = CFS_COMMON_TOOL,
	  .is_hidden = true,
	  .help = "print the options of all verbs for programs" },
	{ .name = NULL },
};

unsigned int cfs_common_mask(const struct cfs_verb *verb)
{
	unsigned int mask = CFS_COMMON_ALL;

	if (!verb)
		return mask | CFS_COMMON_TOOL | CFS_COMMON_JSON;
	mask |= verb->common;
	if (!verb->name)
		mask |= CFS_COMMON_TOOL;
	if (!(verb->flags & CFS_VERB_NO_JSON))
		mask |= CFS_COMMON_JSON;
	return mask;
}
