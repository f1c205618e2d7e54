/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From argv to an exit status: finds the verb, reads the options, answers
 * --help and its like, runs the verb, writes what it collected.
 *
 * How a process ends, in this order: by the signal that stopped it (a shell
 * then sees 128+N and stops a script), by SIGPIPE if a stream lost its
 * reader, else with the highest status that was met.
 */
#include "common/tool_priv.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct end {
	int status;
	int signal; /* 0: none */
};

const struct cfs_verb *cfs_tool_find(const struct cfs_tool *tool,
				     const char *name)
{
	const struct cfs_verb *verb;
	size_t i;

	for (i = 0; tool->verbs[i]; i++) {
		verb = tool->verbs[i];
		if (name ? verb->name && !strcmp(verb->name, name)
			 : !verb->name)
			return verb;
	}
	return NULL;
}

static bool has_named_verbs(const struct cfs_tool *tool)
{
	size_t i;

	for (i = 0; tool->verbs[i]; i++) {
		if (tool->verbs[i]->name)
			return true;
	}
	return false;
}

/* --list-verbs or --list-options. */
static int answer_list(struct cfs_cmd *cmd, bool is_verbs)
{
	const struct cfs_tool *tool = cmd->tool;
	FILE *to = cmd->is_json ? NULL : cmd->text;
	struct cfs_out *out;
	int r;

	r = cfs_cmd_set_schema(cmd, is_verbs ? "list-verbs" : "list-options");
	out = cmd->is_json ? cmd->out : NULL;
	if (r == 0)
		r = is_verbs ? cfs_list_verbs(to, out, tool)
			     : cfs_list_options(to, out, tool, &cmd->err);
	if (r < 0)
		cfs_cmd_fail(cmd, NULL, &cmd->err);
	return 1;
}

/* Options that answer by themselves.  Returns 1: one did. */
static int try_answer(struct cfs_cmd *cmd)
{
	const struct cfs_args *args = &cmd->args;

	if (cfs_cmd_has(cmd, "help")) {
		cmd->is_json = false;
		if (!cmd->verb ||
		    (!cmd->verb->name && has_named_verbs(cmd->tool)))
			cfs_help_tool(cmd->text, cmd->tool, args);
		else
			cfs_help_verb(cmd->text, cmd->tool, cmd->verb, args);
		return 1;
	}
	if (cfs_cmd_has(cmd, "version")) {
		if (cfs_cmd_set_schema(cmd, "version") < 0)
			cfs_cmd_fail(cmd, NULL, &cmd->err);
		cfs_out_str(cmd->out, "tool", cmd->tool->name);
		cfs_out_str(cmd->out, "program_version", CFS_VERSION);
		fprintf(cmd->text, "%s (cfs) %s\n", cmd->tool->name,
			CFS_VERSION);
		return 1;
	}
	if (cfs_args_knows(args, "list-verbs") &&
	    cfs_cmd_has(cmd, "list-verbs"))
		return answer_list(cmd, true);
	if (cfs_args_knows(args, "list-options") &&
	    cfs_cmd_has(cmd, "list-options"))
		return answer_list(cmd, false);
	return 0;
}

static int check_operands(struct cfs_cmd *cmd)
{
	const struct cfs_verb *verb = cmd->verb;
	unsigned int count = cmd->operand_count;

	if (count < verb->min_operands)
		return cfs_cmd_usage(cmd, count ? "an operand is missing"
						: "no operand is given");
	if (count > verb->max_operands)
		return cfs_cmd_usage(cmd, "'%s' is one operand too many",
				     cmd->operands[verb->max_operands]);
	return 0;
}

/* Options and operands of a verb that is known, then the verb itself. */
static int run_verb(struct cfs_cmd *cmd, int argc, char **argv)
{
	int r;

	r = cfs_args_parse(&cmd->args, argc, argv, &cmd->err);
	if (r == 0)
		r = cfs_cmd_init(cmd, &cmd->err);
	if (r == 0 && try_answer(cmd))
		return 0;
	if (r == 0)
		r = cfs_args_check(&cmd->args, cmd->verb->one_of, &cmd->err);
	if (r == -EINVAL)
		return cfs_cmd_usage(cmd, "%s", cmd->err.msg);
	if (r == 0)
		r = check_operands(cmd);
	if (r < 0)
		return r;
	return cmd->verb->run(cmd);
}

/* No verb: one of the options that answer by themselves, or misuse. */
static int run_none(struct cfs_cmd *cmd, int argc, char **argv)
{
	int r;

	r = cfs_args_parse(&cmd->args, argc, argv, &cmd->err);
	if (r == 0)
		r = cfs_cmd_init(cmd, &cmd->err);
	if (r == 0 && try_answer(cmd))
		return 0;
	if (r == -EINVAL)
		return cfs_cmd_usage(cmd, "%s", cmd->err.msg);
	if (r < 0)
		return r;
	if (!cmd->args.operand_count)
		return cfs_cmd_usage(cmd, "no verb is given");
	return cfs_cmd_usage(cmd, "unknown verb '%s'", cmd->args.operands[0]);
}

/*
 * Find the verb of @argv and take its name out: common options may stand
 * before it.  @argv[@argc] stays NULL.
 */
static const struct cfs_verb *take_verb(const struct cfs_tool *tool, int *argc,
					char **argv, struct cfs_err *err)
{
	const struct cfs_verb *verb = NULL;
	struct cfs_args args;
	int i;

	if (cfs_args_init(NULL, cfs_common_opts, ~0u, &args, err) == 0) {
		i = cfs_args_find_operand(&args, *argc, argv);
		if (i < *argc && argv[i][0] != '-')
			verb = cfs_tool_find(tool, argv[i]);
		if (verb) {
			memmove(&argv[i], &argv[i + 1],
				(size_t)(*argc - i) * sizeof(char *));
			(*argc)--;
		}
	}
	cfs_args_done(&args);
	return verb ? verb : cfs_tool_find(tool, NULL);
}

static struct end end_of(struct cfs_cmd *cmd, int r)
{
	struct end end = { .status = 0 };

	if (r < 0)
		cfs_cmd_fail(cmd, NULL, &cmd->err);
	else if (r > 0 && !cmd->has_failed)
		cmd->status = r;
	cfs_cmd_finish(cmd);
	end.status = cmd->status;
	if (cmd->is_pipe_closed)
		end.signal = SIGPIPE;
	if (cmd->last_code == -EINTR && !cmd->tool->is_fsck)
		end.signal = cfs_cmd_stop_signal();
	return end;
}

static struct end run_line(const struct cfs_tool *tool, int argc, char **argv,
			   void *context)
{
	CFS_CLEANUP(cfs_freep) char **words = NULL;
	struct cfs_cmd cmd = { .tool = tool, .context = context };
	struct end end;
	int count = argc > 0 ? argc - 1 : 0;
	int r;

	/* A copy: taking the verb out must not change the caller's. */
	words = calloc((size_t)count + 1, sizeof(char *));
	if (!words) {
		r = cfs_err_set(&cmd.err, -ENOMEM, "out of memory");
		return end_of(&cmd, r);
	}
	if (count)
		memcpy(words, argv + 1, (size_t)count * sizeof(char *));
	cmd.verb = take_verb(tool, &count, words, &cmd.err);
	r = cfs_args_init(cmd.verb ? cmd.verb->opts : NULL, cfs_common_opts,
			  cfs_common_mask(cmd.verb), &cmd.args, &cmd.err);
	if (r == 0 && cmd.verb)
		r = run_verb(&cmd, count, words);
	else if (r == 0)
		r = run_none(&cmd, count, words);
	end = end_of(&cmd, r);
	cfs_cmd_done(&cmd);
	return end;
}

int cfs_tool_run(const struct cfs_tool *tool, int argc, char **argv,
		 void *context)
{
	return run_line(tool, argc, argv, context).status;
}

/*
 * Descriptors 0 to 2 must be taken, or a pool would be opened as one of them
 * and a message written into it.  Reading and writing them stays an error.
 */
static void guard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_PATH | O_CLOEXEC);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* A network file system reports at close what it could not write. */
static int close_stdout(const struct cfs_tool *tool, int status)
{
	int code;

	if (close(STDOUT_FILENO) == 0 || errno == EBADF || errno == EINTR)
		return status;
	code = -errno;
	fprintf(stderr, "%s: standard output: %s\n", tool->name,
		strerror(-code));
	return cfs_status_join(status, cfs_status_of(code, tool->is_fsck),
			       tool->is_fsck);
}

int cfs_tool_main(const struct cfs_tool *tool, int argc, char **argv)
{
	struct end end;
	int status;

	guard_descriptors();
	cfs_signals_install();
	end = run_line(tool, argc, argv, NULL);
	status = close_stdout(tool, end.status);
	if (end.signal)
		cfs_signals_die(end.signal);
	return status;
}
