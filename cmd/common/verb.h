/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A tool is a table of verbs, a verb a table of options and one function.
 * From these tables come parsing, usage errors, --help, --version, the common
 * options, --list-verbs, --list-options and the completions.
 *
 * cmd/<tool>/main.c holds the table and nothing else:
 *
 *	static const struct cfs_verb *const verbs[] = {
 *		&slicectl_ls, &slicectl_show, NULL
 *	};
 *	static const struct cfs_tool tool = {
 *		.name = "slicectl",
 *		.help = "space: devices, slices, volumes",
 *		.verbs = verbs,
 *	};
 *	int main(int argc, char **argv)
 *	{
 *		return cfs_tool_main(&tool, argc, argv);
 *	}
 *
 * and cmd/<tool>/ls.c one verb:
 *
 *	static int run(struct cfs_cmd *cmd)
 *	{
 *		struct cfs_name name = CFS_NAME_INIT;
 *		int r;
 *
 *		r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_VOLUME, &name);
 *		if (r < 0)
 *			return r;
 *		...fill cmd->out (JSON) and a table or cfs_cmd_print (text)...
 *		cfs_name_done(&name);
 *		return 0;
 *	}
 *
 *	const struct cfs_verb slicectl_ls = {
 *		.name = "ls",
 *		.operands = "POOL[:NAME]",
 *		.help = "list volumes",
 *		.examples =
 *			"slicectl ls pool.img\n"
 *			"slicectl ls --json pool.img:vm0 | jq .volumes",
 *		.opts = CFS_OPTS(
 *			{ .name = "kind", .type = CFS_OPT_CHOICE,
 *			  .argument = "KIND", .choices = "lun tree",
 *			  .help = "only volumes of this kind" }),
 *		.common = CFS_COMMON_READ,
 *		.items = "volumes",
 *		.min_operands = 1,
 *		.max_operands = 1,
 *		.run = run,
 *	};
 */
#pragma once

#include "common/opt.h"

struct cfs_cmd;

/*
 * Which of the options that are defined once a verb has.  --help, --version,
 * --quiet, --verbose, --color and, unless the verb says CFS_VERB_NO_JSON,
 * --json and --json-lines belong to all.
 */
enum cfs_common {
	/* These three are set by tool.c, not by a verb. */
	CFS_COMMON_ALL = 1u << 0,
	CFS_COMMON_TOOL = 1u << 1, /* --list-verbs ... */
	CFS_COMMON_JSON = 1u << 2,
	CFS_COMMON_BYTES = 1u << 3,
	CFS_COMMON_PROGRESS = 1u << 4,
	CFS_COMMON_DRY_RUN = 1u << 5,
	CFS_COMMON_YES = 1u << 6,
	CFS_COMMON_FORCE = 1u << 7,
	CFS_COMMON_WAIT = 1u << 8,
	CFS_COMMON_SEARCH = 1u << 9,
};

/* Opens a pool: to look; to change something; to do that for long. */
#define CFS_COMMON_READ    (CFS_COMMON_BYTES | CFS_COMMON_WAIT | CFS_COMMON_SEARCH)
#define CFS_COMMON_WRITE   (CFS_COMMON_READ | CFS_COMMON_DRY_RUN)
#define CFS_COMMON_WORK    (CFS_COMMON_WRITE | CFS_COMMON_PROGRESS)
/* Put beside one of these two for what destroys data. */
#define CFS_COMMON_DESTROY CFS_COMMON_YES

enum cfs_verb_flags {
	CFS_VERB_NO_JSON = 1u << 0, /* a shell, a console */
	CFS_VERB_HIDDEN = 1u << 1,
	/* the document is written also when the command has failed */
	CFS_VERB_KEEPS_OUTPUT = 1u << 2,
};

#define CFS_OPERANDS_MANY UINT32_MAX

struct cfs_verb {
	const char *name;           /* NULL: of a tool without verbs */
	const char *operands;       /* behind TOOL VERB [OPTION...]; one
				       form a line; "" or NULL: none */
	const char *help;           /* one line: no capital, no full stop */
	const char *more;           /* paragraphs, each one line; NULL */
	const char *examples;       /* two or three commands, one a line */
	const struct cfs_opt *opts; /* CFS_OPTS(...) or NULL */
	const char *one_of;         /* at least one of these options */
	unsigned int common;        /* enum cfs_common */
	unsigned int flags;         /* enum cfs_verb_flags */
	const char *items;          /* JSON: the list that --json-lines
				       prints; NULL: the whole document */
	unsigned int min_operands;
	unsigned int max_operands;
	/*
	 * Returns 0; or a negative errno with cmd->err set, which is then
	 * printed; or a positive exit status, which becomes the tool's if
	 * nothing else failed.
	 */
	int (*run)(struct cfs_cmd *cmd);
};

struct cfs_tool {
	const char *name;
	const char *help;     /* one line */
	const char *more;     /* paragraphs, each one line; NULL */
	const char *examples; /* of a tool with verbs */
	/*
	 * Ends with NULL.  One without a name is what runs when the first
	 * operand is not the name of another: mkcfs has only that one, hvrun
	 * has both kinds.
	 */
	const struct cfs_verb *const *verbs;
	bool is_fsck; /* exit status in bits, see status.h */
};

/*
 * What main does: prepares descriptors and signals, runs the verb that
 * @argv names, prints its output or its errors, and ends as a signal or a
 * closed pipe demands.  Returns the exit status.
 */
int cfs_tool_main(const struct cfs_tool *tool, int argc, char **argv);

/*
 * The same for one line of a shell, inside a running tool: signals are left
 * alone.  @context is what the shell shares with its commands (an open pool)
 * and becomes cmd->context.  @argv[0] is the tool's name.  Returns the exit
 * status.
 */
int cfs_tool_run(const struct cfs_tool *tool, int argc, char **argv,
		 void *context);

/*
 * The verb of this name, NULL if there is none.  With a NULL name: the one
 * without a name.
 */
const struct cfs_verb *cfs_tool_find(const struct cfs_tool *tool,
				     const char *name);
