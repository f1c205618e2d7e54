/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The question before data is destroyed.  It is asked only where somebody
 * can read it and answer; everywhere else silence means no.
 */
#include "common/tool_priv.h"

#include <string.h>
#include <unistd.h>

/*
 * One line of standard input, its first byte in @ret; byte by byte, as what
 * follows belongs to whoever reads next.  Returns 0, or -EINTR.
 */
static int read_answer(char *ret)
{
	char first = '\n', c;
	bool is_first = true;
	ssize_t n;

	for (;;) {
		n = read(STDIN_FILENO, &c, 1);
		if (n < 0 && errno == EINTR && !cfs_cmd_is_stopped(NULL))
			continue;
		if (n < 0 && errno == EINTR)
			return -EINTR;
		if (n <= 0 || c == '\n')
			break;
		if (is_first)
			first = c;
		is_first = false;
	}
	*ret = first;
	return 0;
}

int cfs_cmd_confirm(struct cfs_cmd *cmd, const char *object, const char *fmt,
		    ...)
{
	char what[CFS_ERR_BYTES / 2], question[CFS_ERR_BYTES];
	struct cfs_err line = CFS_ERR_INIT;
	char answer;
	va_list ap;
	int r;

	if (cmd->is_yes || cmd->is_dry_run)
		return 0;
	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return cfs_err_set(&cmd->err, CFS_REFUSED,
				   "%s: this destroys "
				   "%s: give --yes to do it",
				   object, what);
	/* As an error, so that control characters do no harm. */
	(void)cfs_err_set(&line, CFS_REFUSED, "%s: this destroys %s", object,
			  what);
	(void)snprintf(question, sizeof(question), "%s: %.400s. Go on? [y/N] ",
		       cmd->tool->name, line.msg);
	(void)cfs_write_all(STDERR_FILENO, question, strlen(question));
	r = read_answer(&answer);
	if (r < 0)
		return cfs_err_set(&cmd->err, r,
				   "%s: stopped, nothing was "
				   "changed",
				   object);
	if (answer != 'y' && answer != 'Y')
		return cfs_err_set(&cmd->err, CFS_REFUSED,
				   "%s: not done, "
				   "nothing was changed",
				   object);
	return 0;
}
