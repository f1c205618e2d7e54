/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/shell.h"

#include "base/cleanup.h"
#include "base/vec.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#define WORDS_MAX   256u
#define HISTORY_MAX 1000

struct words {
	char *text;                /* the line, cut up */
	char *argv[WORDS_MAX + 2]; /* with tool, pool, NULL */
	size_t count;
};

/* What completion may ask; one shell a process. */
static struct {
	const struct cfs_shell *config;
	struct cfs_cmd *cmd;
	const char *pool;
	CFS_VEC(char *) names;
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
	for (at = ret->text; at[strspn(at, " \t")];) {
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

/* Some form of the operands, one a line, begins with a pool as a whole. */
static bool may_be_pool(const struct cfs_verb *verb)
{
	const char *form = verb->operands;

	while (form) {
		if (strncmp(form, "POOL", 4) == 0 && form[4] != ':')
			return true;
		form = strchr(form, '\n');
		if (form)
			form++;
	}
	return false;
}

static void insert_pool(struct words *w)
{
	const struct cfs_tool *tool = shell.config->tool;
	const struct cfs_verb *verb = cfs_tool_find(tool, w->argv[1]);

	w->argv[0] = (char *)(uintptr_t)tool->name;
	if (!verb || !may_be_pool(verb))
		return;
	for (size_t i = 2; i <= w->count; i++)
		if (w->argv[i][0] == ':')
			return;
	memmove(&w->argv[3], &w->argv[2], (w->count - 1) * sizeof(char *));
	w->argv[2] = (char *)(uintptr_t)shell.pool;
	w->count++;
}

/* ---- completion ---------------------------------------------------------- */

static void drop_names(void)
{
	for (size_t i = 0; i < shell.names.count; i++)
		free(shell.names.items[i]);
	cfs_vec_done(&shell.names);
}

static int add_name(const char *name)
{
	char *copy = strdup(name);

	if (copy && cfs_vec_push(&shell.names, copy) == 0)
		return 0;
	free(copy);
	return -ENOMEM;
}

static char *next_verb(const char *text, int state)
{
	const struct cfs_tool *tool = shell.config->tool;
	static size_t i, k;
	const struct cfs_verb *verb;

	if (state == 0)
		i = k = 0;
	while ((verb = tool->verbs[i])) {
		i++;
		if (!(verb->flags & CFS_VERB_HIDDEN) &&
		    verb != shell.config->verb &&
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

static char *next_name(const char *text, int state)
{
	static size_t i;

	if (state == 0)
		i = 0;
	while (i < shell.names.count) {
		const char *name = shell.names.items[i++];

		if (strncmp(name, text, strlen(text)) == 0)
			return strdup(name);
	}
	return NULL;
}

/*
 * Called by readline: the first word is a verb, one with a ':' a name of the
 * pool, others may be files of the host.
 */
static char **complete(const char *text, int start, int end)
{
	(void)end;
	rl_attempted_completion_over = 1;
	if (strspn(rl_line_buffer, " \t") >= (size_t)start)
		return rl_completion_matches(text, next_verb);
	if (*text && *text != ':') {
		rl_attempted_completion_over = 0;
		return NULL;
	}
	drop_names();
	shell.config->list(shell.cmd, shell.pool, text, add_name);
	return rl_completion_matches(text, next_name);
}

/* ---- history ------------------------------------------------------------- */

/* Of this tool; NULL: there is no place for it.  The folders are made. */
static char *history_path(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *path = NULL;
	int r;

	if (state && *state == '/')
		r = asprintf(&path, "%s/cfs/%s.history", state,
			     shell.config->tool->name);
	else if (home && *home == '/')
		r = asprintf(&path, "%s/.local/state/cfs/%s.history", home,
			     shell.config->tool->name);
	else
		return NULL;
	if (r < 0)
		return NULL;
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		(void)mkdir(path, 0700);
		*at = '/';
	}
	return path;
}

/* ---- lines --------------------------------------------------------------- */

/* ^C at the prompt: an empty line. */
static void take_interrupt(void)
{
	if (cfs_cmd_stop_signal() != SIGINT)
		return;
	cfs_cmd_clear_stop();
	rl_free_line_state();
	rl_callback_sigcleanup();
	rl_replace_line("", 0);
	rl_crlf();
	rl_on_new_line();
	rl_redisplay();
}

static int wait_for_key(int fd, const sigset_t *seen)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	if (rl_pending_signal() || cfs_cmd_is_stopped(NULL)) {
		errno = EINTR;
		return -1;
	}
	return ppoll(&pfd, 1, NULL, seen);
}

/*
 * Called by readline.  Its own waits for a key with a signal that came just
 * before, and what is typed then is put to a line that ^C has ended.
 */
static int get_key(FILE *stream)
{
	sigset_t all, before;
	unsigned char key;
	ssize_t n = -1;

	sigfillset(&all);
	while (n < 0) {
		rl_check_signals();
		take_interrupt();
		if (cfs_cmd_is_stopped(NULL))
			return EOF;
		(void)sigprocmask(SIG_BLOCK, &all, &before);
		if (wait_for_key(fileno(stream), &before) > 0)
			n = read(fileno(stream), &key, 1);
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return EOF;
	}
	return n == 1 ? key : EOF;
}

static void help(void)
{
	const struct cfs_tool *tool = shell.config->tool;

	for (size_t i = 0; tool->verbs[i]; i++) {
		const struct cfs_verb *verb = tool->verbs[i];

		if (!(verb->flags & CFS_VERB_HIDDEN) &&
		    verb != shell.config->verb)
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
			*status = cfs_tool_run(shell.config->tool,
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
	CFS_CLEANUP(cfs_freep) char *path = history_path(), *prompt = NULL;
	bool goes_on = true;
	int status = 0;
	char *line;

	rl_readline_name = "cfs";
	rl_attempted_completion_function = complete;
	rl_completer_word_break_characters = (char *)(uintptr_t) " \t";
	rl_getc_function = get_key;
	using_history();
	stifle_history(HISTORY_MAX);
	if (path)
		(void)read_history(path);
	if (asprintf(&prompt, "%s> ", cmd->tool->name) < 0)
		prompt = NULL;
	while (goes_on) {
		line = readline(prompt ? prompt : "> ");
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
	/* Where it cannot be kept, it is not: nobody asked for it. */
	if (path)
		(void)write_history(path);
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

int cfs_shell_run(const struct cfs_shell *config, struct cfs_cmd *cmd,
		  const char *pool)
{
	int r = 0;

	if (cmd->context)
		return cfs_cmd_usage(cmd, "this is the shell");
	if (setenv("CFS_POOL", pool, 1) < 0)
		return cfs_err_errno(&cmd->err, -errno, "CFS_POOL");
	shell.config = config;
	shell.cmd = cmd;
	shell.pool = pool;
	if (isatty(STDIN_FILENO)) {
		run_terminal(cmd);
		if (cfs_cmd_is_stopped(NULL))
			r = cfs_err_set(&cmd->err, -EINTR, "stopped");
	} else {
		r = run_script(cmd);
	}
	drop_names();
	return r;
}
