/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * --background: moving slices goes on when the command has returned.  Where
 * another process holds the pool, that one does it.  Else a child of this one
 * holds the pool from now on, answers other tools meanwhile, and ends when all
 * is moved and nobody needs it.
 */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "common/run.h"
#include "session/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESULT_FD 3
#define LOOK_NS   (50 * CFS_NS_PER_MS)
/* What others have asked for may end. */
#define GRACE_MS  10000u

/* What the child says once, when all is begun, or why not. */
struct word {
	int code;
	char message[CFS_ERR_BYTES];
	struct cfs_move_result moved;
};

static int open_pool(struct cfs_cmd *cmd, const struct slicectl_move *mv,
		     bool must_hold, struct cfs_session **ret)
{
	struct cfs_session_options opt = { .is_writable = true,
					   .without = mv->without,
					   .must_hold = must_hold,
					   .in_background = true,
					   CFS_CMD_SESSION(cmd) };

	return cfs_cmd_wrap(cmd, mv->pool,
			    cfs_session_open(mv->pool, &opt, ret, &cmd->err));
}

/* ---- the child ----------------------------------------------------------- */

static void tell(int fd, int code, const struct cfs_err *err,
		 const struct cfs_move_result *moved)
{
	struct word word;

	memset(&word, 0, sizeof(word));
	word.code = code;
	word.moved = *moved;
	if (code < 0)
		memcpy(word.message, err->msg, sizeof(word.message));
	while (write(fd, &word, sizeof(word)) < 0 && errno == EINTR)
		;
	close(fd);
}

static void serve_while_needed(struct cfs_serve *serve)
{
	struct cfs_clock *clock = cfs_clock_system();

	while (!cfs_cmd_is_stopped(NULL) &&
	       (cfs_serve_is_moving(serve) || !cfs_serve_end_unneeded(serve)))
		cfs_clock_sleep_until(clock,
				      cfs_clock_elapsed_ns(clock) + LOOK_NS);
}

static void serve(struct cfs_cmd *cmd, struct slicectl_move *mv,
		  struct cfs_session *s, const char *run_directory, int fd)
{
	const struct cfs_serve_options opt = {
		.run_directory = run_directory,
	};
	struct cfs_move_result moved = { 0 };
	struct cfs_serve *serve = NULL;
	int r = cfs_serve_new(s, NULL, &serve, &cmd->err);

	if (r == 0)
		r = cfs_serve_start(serve, &opt, &cmd->err);
	if (r == 0)
		r = mv->begin(mv, s, &moved);
	tell(fd, r, &cmd->err, &moved);
	if (r == 0)
		serve_while_needed(serve);
	if (serve)
		(void)cfs_serve_stop(serve, GRACE_MS, NULL);
	cfs_serve_free(serve);
}

static void run_child(struct cfs_cmd *cmd, struct slicectl_move *mv)
{
	const struct cfs_move_result none = { 0 };
	char run_directory[CFS_RUN_DIRECTORY_BYTES];
	struct cfs_session *s = NULL;
	int r = cfs_cmd_run_directory(cmd, run_directory);

	if (r == 0)
		r = open_pool(cmd, mv, true, &s);
	if (r < 0)
		tell(RESULT_FD, r, &cmd->err, &none);
	else
		serve(cmd, mv, s, run_directory, RESULT_FD);
	(void)cfs_session_close(s, NULL);
}

/* Of what the command has open only the way to tell stays. */
static void become_daemon(int fd)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (setsid() < 0 || null_fd < 0)
		_exit(1);
	if (fork() != 0)
		_exit(0);
	if (dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0 ||
	    dup2(null_fd, 2) < 0)
		_exit(1);
	if (fd != RESULT_FD && dup2(fd, RESULT_FD) < 0)
		_exit(1);
	(void)close_range(RESULT_FD + 1, ~0u, 0);
}

/* ---- the command --------------------------------------------------------- */

static int hear(struct cfs_cmd *cmd, const char *pool, int fd,
		struct cfs_move_result *ret)
{
	struct word word;
	ssize_t n;

	do
		n = read(fd, &word, sizeof(word));
	while (n < 0 && errno == EINTR && !cfs_cmd_is_stopped(NULL));
	if (n != (ssize_t)sizeof(word))
		return cfs_err_set(&cmd->err,
				   cfs_cmd_is_stopped(NULL) ? -EINTR : -ECHILD,
				   "%s: the process that goes on has ended at "
				   "once",
				   pool);
	*ret = word.moved;
	if (word.code == 0)
		return 0;
	word.message[sizeof(word.message) - 1] = '\0';
	return cfs_err_set(&cmd->err, word.code, "%s", word.message);
}

static int start_child(struct cfs_cmd *cmd, struct slicectl_move *mv,
		       struct cfs_move_result *ret)
{
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return cfs_err_errno(&cmd->err, -errno, "%s", mv->pool);
	pid = fork();
	if (pid == 0) {
		become_daemon(fds[1]);
		run_child(cmd, mv);
		_exit(0);
	}
	r = pid < 0 ? cfs_err_errno(&cmd->err, -errno, "%s: fork", mv->pool)
		    : 0;
	close(fds[1]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (r == 0)
		r = hear(cmd, mv->pool, fds[0], ret);
	close(fds[0]);
	return r;
}

int slicectl_move_background(struct cfs_cmd *cmd, struct slicectl_move *mv,
			     struct cfs_move_result *ret)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	int r = open_pool(cmd, mv, false, &s);

	if (r < 0)
		return r;
	if (cfs_session_is_holder(s)) {
		r = slicectl_close(cmd, mv->pool, &s, 0);
		return r < 0 ? r : start_child(cmd, mv, ret);
	}
	r = mv->begin(mv, s, ret);
	return slicectl_close(cmd, mv->pool, &s, r);
}
