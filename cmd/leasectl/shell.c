/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * leasectl shell: the verbs at a prompt.  The pool is known, so it is left
 * out: "status", "renew LEASE", "acquire :vm0".
 *
 * readline is linked by the shells alone; it is under the GPL, version 3.
 */
#include "leasectl/leasectl.h"

#include "base/cleanup.h"
#include "base/vec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#define WORDS_MAX	256u
#define HISTORY_MAX	1000

struct words {
	char		*text;			/* the line, cut up */
	char		*argv[WORDS_MAX + 2];	/* with tool, pool, NULL */
	size_t		count;
};

/* What completion may ask; one shell a process. */
static struct {
	struct cfs_cmd	*cmd;
	const char	*pool;
	CFS_VEC(char *)	volumes;
	bool		has_volumes;
} shell;

static const char *const own_verbs[] = { "help", "exit", NULL };

/* ---- words --------------------------------------------------------------- */

/* One word, its quotes taken away in place.  NULL: a quote has no end. */
static char *cut_word(char **at)
{
	char *from = *at, *to = from, *word = from, quote = '\0';

	for (; *from && (quote || !strchr(" \t", *from)); from++) {
		if (quote && *from == quote)
			quote = '\0';
		else if (!quote && (*from == '"' || *from == '\''))
			quote = *from;
		else if (quote != '\'' && *from == '\\' && from[1])
			*to++ = *++from;
		else
			*to++ = *from;
	}
	*at = *from ? from + 1 : from;
	*to = '\0';
	return quote ? NULL : word;
}

static int cut(struct cfs_cmd *cmd, const char *line, struct words *ret)
{
	char *at, *word;

	ret->text = strdup(line);
	if (!ret->text)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	for (at = ret->text; at[strspn(at, " \t")]; ) {
		at += strspn(at, " \t");
		if (*at == '#')
			break;
		word = cut_word(&at);
		if (!word)
			return cfs_cmd_usage(cmd, "a quote has no end");
		if (ret->count == WORDS_MAX)
			return cfs_cmd_usage(cmd, "too many words");
		ret->argv[1 + ret->count++] = word;
	}
	return 0;
}

/* Verbs that are about a pool as a whole get it as their first operand. */
static bool wants_pool(const struct cfs_verb *verb)
{
	return verb->operands && strncmp(verb->operands, "POOL", 4) == 0 &&
	       verb->operands[4] != ':';
}

static void insert_pool(struct words *w)
{
	const struct cfs_verb *verb = cfs_tool_find(&leasectl_tool,
						    w->argv[1]);

	w->argv[0] = (char *)(uintptr_t)leasectl_tool.name;
	if (!verb || !wants_pool(verb))
		return;
	memmove(&w->argv[3], &w->argv[2], (w->count - 1) * sizeof(char *));
	w->argv[2] = (char *)(uintptr_t)shell.pool;
	w->count++;
}

/* ---- completion ---------------------------------------------------------- */

static int add_volume(void *arg, const struct cfs_volume_info *info)
{
	char *name = NULL;

	(void)arg;
	if (asprintf(&name, ":%s", info->name) < 0)
		return -ENOMEM;
	if (cfs_vec_push(&shell.volumes, name) < 0) {
		free(name);
		return -ENOMEM;
	}
	return 0;
}

/* Asked for once, without waiting: completion is a help, not a promise. */
static void list_volumes(void)
{
	struct cfs_session_options opt = leasectl_options(shell.cmd);
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;

	if (shell.has_volumes)
		return;
	shell.has_volumes = true;
	opt.wait_seconds = 0;
	opt.warn = NULL;
	if (cfs_session_open(shell.pool, &opt, &s, NULL) == 0)
		(void)cfs_session_volumes(s, NULL, add_volume, NULL, NULL);
}

static char *next_verb(const char *text, int state)
{
	static size_t i, k;
	const struct cfs_verb *verb;

	if (state == 0)
		i = k = 0;
	while ((verb = leasectl_tool.verbs[i])) {
		i++;
		if (!(verb->flags & CFS_VERB_HIDDEN) &&
		    verb != &leasectl_shell &&
		    strncmp(verb->name, text, strlen(text)) == 0)
			return strdup(verb->name);
	}
	while (own_verbs[k]) {
		k++;
		if (strncmp(own_verbs[k - 1], text, strlen(text)) == 0)
			return strdup(own_verbs[k - 1]);
	}
	return NULL;
}

static char *next_volume(const char *text, int state)
{
	static size_t i;

	if (state == 0)
		i = 0;
	while (i < shell.volumes.count) {
		const char *name = shell.volumes.items[i++];

		if (strncmp(name, text, strlen(text)) == 0)
			return strdup(name);
	}
	return NULL;
}

/* Called by readline: the first word is a verb, others are volumes. */
static char **complete(const char *text, int start, int end)
{
	(void)end;
	rl_attempted_completion_over = 1;
	if (strspn(rl_line_buffer, " \t") >= (size_t)start)
		return rl_completion_matches(text, next_verb);
	list_volumes();
	return rl_completion_matches(text, next_volume);
}

/* ---- lines --------------------------------------------------------------- */

/* ^C at the prompt: an empty line. */
static int on_signal(void)
{
	if (!cfs_cmd_is_stopped(NULL))
		return 0;
	cfs_cmd_clear_stop();
	rl_free_line_state();
	rl_callback_sigcleanup();
	rl_replace_line("", 0);
	rl_crlf();
	rl_on_new_line();
	rl_redisplay();
	return 0;
}

static void help(void)
{
	for (size_t i = 0; leasectl_tool.verbs[i]; i++) {
		const struct cfs_verb *verb = leasectl_tool.verbs[i];

		if (!(verb->flags & CFS_VERB_HIDDEN) &&
		    verb != &leasectl_shell)
			printf("%-8s  %s\n", verb->name, verb->help);
	}
	printf("%-8s  %s\n", "exit", "leave the shell");
	fflush(stdout);
}

/* Returns false at the end; *@status is that of the line. */
static bool do_line(struct cfs_cmd *cmd, const char *line, int *status)
{
	struct words w = { .text = NULL };
	bool goes_on = true;
	int r = cut(cmd, line, &w);

	if (r < 0) {
		fprintf(stderr, "%s: %s\n", cmd->tool->name, cmd->err.msg);
		*status = CFS_STATUS_USAGE;
	} else if (w.count) {
		if (!strcmp(w.argv[1], "exit") || !strcmp(w.argv[1], "quit")) {
			goes_on = false;
		} else if (!strcmp(w.argv[1], "help") ||
			   !strcmp(w.argv[1], "?")) {
			help();
		} else {
			insert_pool(&w);
			*status = cfs_tool_run(&leasectl_tool,
					       (int)w.count + 1, w.argv,
					       &shell);
			cfs_cmd_clear_stop();
		}
	}
	free(w.text);
	return goes_on;
}

static void run_terminal(struct cfs_cmd *cmd)
{
	bool goes_on = true;
	int status = 0;
	char *line;

	rl_readline_name = "cfs";
	rl_attempted_completion_function = complete;
	rl_completer_word_break_characters = (char *)(uintptr_t)" \t";
	rl_signal_event_hook = on_signal;
	using_history();
	stifle_history(HISTORY_MAX);
	while (goes_on) {
		line = readline("leasectl> ");
		if (!line)
			break;
		/* ^C and the rest came at once: it was not meant. */
		if (cfs_cmd_is_stopped(NULL)) {
			cfs_cmd_clear_stop();
			free(line);
			continue;
		}
		if (*line)
			add_history(line);
		goes_on = do_line(cmd, line, &status);
		free(line);
	}
	clear_history();
}

/* The highest status counts, as it does of several objects. */
static int run_script(struct cfs_cmd *cmd)
{
	size_t room = 0;
	int highest = 0, status;
	bool goes_on = true;
	char *line = NULL;
	ssize_t n;

	while (goes_on && (n = getline(&line, &room, stdin)) >= 0) {
		if (n && line[n - 1] == '\n')
			line[n - 1] = '\0';
		status = 0;
		goes_on = do_line(cmd, line, &status);
		highest = cfs_status_join(highest, status, false);
	}
	free(line);
	return highest;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	const struct cfs_session_options opt = leasectl_options(cmd);
	struct cfs_manager_info info;
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0 && cmd->context)
		return cfs_cmd_usage(cmd, "this is the shell");
	if (r == 0)
		r = cfs_cmd_wrap(cmd, name.pool,
				 cfs_manager_find(name.pool, &opt, &info,
						  &cmd->err));
	if (r == 0 && setenv("CFS_POOL", name.pool, 1) < 0)
		r = cfs_err_errno(&cmd->err, -errno, "CFS_POOL");
	if (r < 0)
		return r;
	shell.cmd = cmd;
	shell.pool = name.pool;
	if (isatty(STDIN_FILENO))
		run_terminal(cmd);
	else
		r = run_script(cmd);
	for (size_t i = 0; i < shell.volumes.count; i++)
		free(shell.volumes.items[i]);
	cfs_vec_done(&shell.volumes);
	return r;
}

const struct cfs_verb leasectl_shell = {
	.name = "shell",
	.operands = "POOL",
	.help = "the same commands at a prompt, with completion",
	.more = "The pool is left out: 'status', 'renew LEASE', 'acquire "
		":vm0'. Lines come from standard input if that is no "
		"terminal.",
	.examples =
		"leasectl shell pool.img\n"
		"echo status | leasectl shell pool.img",
	.common = CFS_COMMON_SEARCH,
	.flags = CFS_VERB_NO_JSON,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
