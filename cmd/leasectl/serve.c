/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The manager that leasectl leaves behind where nobody holds the pool: a
 * process in the background, of a session of its own, which serves until the
 * last client and the last connection are gone.
 *
 * It is this program once more (`leasectl serve POOL`), so that it begins
 * with nothing that the one who started it has open, and can be told by ps(1).
 * Through descriptor 3 it says when it is ready, "0", or why it is not: a
 * line of errno and message.  The descriptor stays open until it ends.
 */
#include "leasectl/leasectl.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "common/run.h"
#include "session/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_FD 3
#define LOOK_NS  (50 * CFS_NS_PER_MS)
/* So long for the first client to come. */
#define FIRST_NS (5 * CFS_NS_PER_S)
/* What others have asked for may end. */
#define GRACE_MS 10000u

/* ---- starting ------------------------------------------------------------ */

/* "--search DIR" each, POOL, and what stands around them. */
struct command_line {
	char exe[PATH_MAX];
	char **argv;
	size_t count;
};

/* A path that is good in another directory; a URI stays as it is. */
static char *absolute(const char *path)
{
	char *real = realpath(path, NULL);

	return real ? real : strdup(path);
}

static void line_donep(struct command_line *l)
{
	for (size_t i = 0; l->argv && i < l->count; i++)
		free(l->argv[i]);
	free(l->argv);
}

static int line_make(const struct cfs_cmd *cmd, const char *pool,
		     struct command_line *l)
{
	ssize_t n = readlink("/proc/self/exe", l->exe, sizeof(l->exe) - 1);
	char **at;

	if (n < 0)
		return -errno;
	l->exe[n] = '\0';
	l->count = 4 + 2 * cmd->search_count;
	l->argv = calloc(l->count + 1, sizeof(*l->argv));
	if (!l->argv)
		return -ENOMEM;
	at = l->argv;
	*at++ = strdup(cmd->tool->name);
	*at++ = strdup("serve");
	for (size_t i = 0; i < cmd->search_count; i++) {
		*at++ = strdup("--search");
		*at++ = absolute(cmd->search[i]);
	}
	*at++ = strdup("--");
	*at++ = absolute(pool);
	for (size_t i = 0; i < l->count; i++)
		if (!l->argv[i])
			return -ENOMEM;
	return 0;
}

/* Between fork and exec: only what is safe there. */
static void become_daemon(const struct command_line *l, int ready_fd)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (setsid() < 0 || null_fd < 0)
		_exit(1);
	/* Not the leader of its session: it never gets a terminal. */
	if (fork() != 0)
		_exit(0);
	cfs_cmd_restore_signals();
	if (ready_fd == READY_FD)
		(void)fcntl(ready_fd, F_SETFD, 0);
	else if (dup2(ready_fd, READY_FD) < 0)
		_exit(1);
	if (dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0 ||
	    dup2(null_fd, 2) < 0 || chdir("/") < 0)
		_exit(1);
	(void)close_range(READY_FD + 1, ~0u, 0);
	execv(l->exe, l->argv);
	_exit(1);
}

/* What it says: its first line. */
static int hear(struct cfs_cmd *cmd, const char *pool, int fd)
{
	char line[CFS_ERR_BYTES + 16], *end;
	size_t used = 0;
	ssize_t n;
	long code;

	do {
		n = read(fd, line + used, sizeof(line) - 1 - used);
		if (n < 0 && errno == EINTR && !cfs_cmd_is_stopped(NULL))
			continue;
		if (n <= 0)
			break;
		used += (size_t)n;
	} while (!memchr(line, '\n', used) && used < sizeof(line) - 1);
	line[used] = '\0';
	if (cfs_cmd_is_stopped(NULL))
		return cfs_err_set(&cmd->err, -EINTR, "%s: stopped", pool);
	line[strcspn(line, "\n")] = '\0';
	code = strtol(line, &end, 10);
	if (end == line || code < 0 || code > 4095)
		return cfs_err_set(&cmd->err, -ECHILD,
				   "%s: the manager that "
				   "was started has ended at once",
				   pool);
	if (code == 0)
		return 0;
	cfs_err_set(&cmd->err, -(int)code, "%s", *end ? end + 1 : end);
	return cfs_cmd_wrap(cmd, pool, -(int)code);
}

int leasectl_start(struct cfs_cmd *cmd, const char *pool, int *ret_fd)
{
	CFS_CLEANUP(line_donep) struct command_line line = { .argv = NULL };
	int fds[2] = { -1, -1 }, r = line_make(cmd, pool, &line);
	pid_t pid;

	if (r == 0 && pipe2(fds, O_CLOEXEC) < 0)
		r = -errno;
	if (r < 0)
		return cfs_err_errno(&cmd->err, r, "%s: manager", pool);
	pid = fork();
	if (pid == 0)
		become_daemon(&line, fds[1]);
	r = pid < 0 ? cfs_err_errno(&cmd->err, -errno, "%s: fork", pool) : 0;
	close(fds[1]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (r == 0)
		r = hear(cmd, pool, fds[0]);
	if (r < 0)
		close(fds[0]);
	else
		*ret_fd = fds[0];
	return r;
}

/* ---- serving ------------------------------------------------------------- */

/* It ends when nobody needs it; but some may be about to come back. */
static bool ends(struct cfs_serve *serve, uint64_t now_ns, uint64_t first_ns)
{
	struct cfs_server_stats stats;
	const struct cfs_owner *owner = cfs_serve_lock(serve);
	const bool is_in_grace = cfs_owner_is_in_grace(owner);

	cfs_serve_unlock_unchanged(serve);
	cfs_server_stats(cfs_serve_server(serve), &stats);
	/* A connection, be it a short one. */
	if (is_in_grace || (stats.accepted == 0 && now_ns < first_ns))
		return false;
	return cfs_serve_end_unneeded(serve);
}

static void serve_while_needed(struct cfs_serve *serve)
{
	struct cfs_clock *clock = cfs_clock_system();
	uint64_t now_ns = cfs_clock_elapsed_ns(clock);
	const uint64_t first_ns = now_ns + FIRST_NS;

	while (!cfs_cmd_is_stopped(NULL) && !ends(serve, now_ns, first_ns)) {
		cfs_clock_sleep_until(clock, now_ns + LOOK_NS);
		now_ns = cfs_clock_elapsed_ns(clock);
	}
}

static void tell(int code, const struct cfs_err *err)
{
	char line[CFS_ERR_BYTES + 16];
	struct stat st;
	int n;

	if (fstat(READY_FD, &st) < 0 || !S_ISFIFO(st.st_mode))
		return;
	n = code ? snprintf(line, sizeof(line), "%d %s\n", -code, err->msg)
		 : snprintf(line, sizeof(line), "0\n");
	while (n > 0 && write(READY_FD, line, (size_t)n) < 0 && errno == EINTR)
		;
}

static int serve_pool(struct cfs_cmd *cmd, struct cfs_session *s,
		      const char *run_directory)
{
	const struct cfs_serve_options opt = {
		.run_directory = run_directory,
	};
	struct cfs_serve *serve = NULL;
	int r = cfs_serve_new(s, NULL, &serve, &cmd->err);

	if (r == 0)
		r = cfs_serve_start(serve, &opt, &cmd->err);
	if (r == 0) {
		tell(0, NULL);
		serve_while_needed(serve);
		r = cfs_serve_stop(serve, GRACE_MS, &cmd->err);
	}
	cfs_serve_free(serve);
	return r;
}

static int run(struct cfs_cmd *cmd)
{
	struct cfs_session_options opt = { .is_writable = true,
					   .must_hold = true,
					   CFS_CMD_SESSION(cmd) };
	char run_directory[CFS_RUN_DIRECTORY_BYTES];
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_session *s = NULL;
	int r = cfs_cmd_run_directory(cmd, run_directory), r2;

	/* Whoever is quicker than we are serves as well. */
	opt.wait_seconds = cmd->has_wait ? cmd->wait_seconds : 0;
	if (r == 0)
		r = cfs_session_open(cmd->operands[0], &opt, &s, &cmd->err);
	if (r == 0)
		r = serve_pool(cmd, s, run_directory);
	r2 = cfs_session_close(s, &err);
	if (r == 0 && r2 < 0) {
		cmd->err = err;
		r = r2;
	}
	if (r < 0)
		tell(r, &cmd->err);
	return cfs_cmd_wrap(cmd, cmd->operands[0], r);
}

const struct cfs_verb leasectl_serve = {
	.name = "serve",
	.operands = "POOL",
	.help = "be the manager until nobody needs one",
	.common = CFS_COMMON_WAIT | CFS_COMMON_SEARCH,
	.flags = CFS_VERB_HIDDEN | CFS_VERB_NO_JSON,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
