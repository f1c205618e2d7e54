/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cfscp: data in and out; files, directories, LUNs and archives. */
#include "cfscp/cfscp.h"

static int run(struct cfs_cmd *cmd)
{
	if (cfs_cmd_has(cmd, "list"))
		return cp_run_list(cmd);
	if (cfs_cmd_has(cmd, "mkdir"))
		return cp_run_mkdir(cmd);
	if (cfs_cmd_has(cmd, "remove"))
		return cp_run_remove(cmd);
	if (cfs_cmd_has(cmd, "archive"))
		return cp_run_archive(cmd);
	if (cfs_cmd_has(cmd, "extract"))
		return cp_run_extract(cmd);
	if (cmd->operand_count < 2)
		return cfs_cmd_usage(cmd, "where to copy it is missing");
	return cp_run_copy(cmd);
}

#define NO_COPY " offset length sparse skip-damaged"

static const struct cfs_verb cfscp = {
	.operands = "SRC... DST\n"
		    "--archive FORMAT[.FILTER] POOL:TREE[@SNAP]:/path -\n"
		    "--extract ARCHIVE|- POOL:TREE:/path\n"
		    "--list|--mkdir|--remove [-r] POOL:TREE[@SNAP]:/path...",
	.help = "data in and out: files, directories, LUNs, archives",
	.more = "SRC and DST are a file or directory of the host, - (standard "
		"input or output), a LUN as POOL:VOLUME[@SNAP], or a path in "
		"a tree as POOL:VOLUME[@SNAP]:/path. One of both is in a "
		"pool.\n"
		"A directory goes whole: into DST if that is a directory, "
		"else it becomes DST. A LUN must exist; a shorter source "
		"leaves the rest of it alone, a longer one is refused.",
	.examples = "cfscp disk.img pool.img:vm0\n"
		    "cfscp /etc pool.img:backup:/monday\n"
		    "cfscp --archive tar.zst pool.img:backup@a:/ - >a.tar.zst",
	.opts = CFS_OPTS(
		{ .name = "archive",
		  .type = CFS_OPT_STRING,
		  .argument = "FORMAT[.FILTER]",
		  .conflicts = "extract list mkdir remove offset length "
			       "sparse recursive",
		  .help = "write a tree as tar, cpio, zip or 7z; filters are "
			  "gz bz2 xz zst lz4 lz lzma" },
		{ .name = "extract",
		  .conflicts = "list mkdir remove recursive skip-damaged "
			       "offset length",
		  .help = "read an archive into a tree" },
		{ .name = "list",
		  .conflicts = "mkdir remove" NO_COPY,
		  .help = "list a directory of a tree" },
		{ .name = "mkdir",
		  .conflicts = "remove recursive" NO_COPY,
		  .help = "make a directory in a tree" },
		{ .name = "remove",
		  .conflicts = "offset length sparse skip-damaged",
		  .help = "remove a file or an empty directory of a tree" },
		{ .name = "recursive",
		  .letter = 'r',
		  .needs = "list remove",
		  .help = "with all that is below" },
		{ .name = "offset",
		  .type = CFS_OPT_SIZE,
		  .argument = "SIZE",
		  .help = "begin there in the LUN (of two, in both)" },
		{ .name = "length",
		  .type = CFS_OPT_SIZE,
		  .argument = "SIZE",
		  .help = "copy so much at most" },
		{ .name = "sparse", .help = "make holes of zeroes" },
		{ .name = "skip-damaged",
		  .help = "go on over damage, write zeroes there, list it" }),
	.common = CFS_COMMON_WORK,
	.items = "copies",
	.min_operands = 1,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run,
};

static const struct cfs_verb *const verbs[] = { &cfscp, NULL };

static const struct cfs_tool tool = {
	.name = "cfscp",
	.help = "data in and out: files, directories, LUNs, archives",
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	return cfs_tool_main(&tool, argc, argv);
}
