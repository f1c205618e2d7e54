/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Starting, watching and ending the servers beside a cfsd. */
#include "cfsd/export.h"

#include "base/bits.h"
#include "base/clock.h"
#include "common/run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_NS     (30 * CFS_NS_PER_S)
#define STOP_NS      (30 * CFS_NS_PER_S)
#define LOOK_NS      (200 * CFS_NS_PER_MS)
/* One that ends is started again, ever more slowly while it keeps ending. */
#define PAUSE_MIN_NS CFS_NS_PER_S
#define PAUSE_MAX_NS (60 * CFS_NS_PER_S)

static const char *const kinds[EXPORT_KINDS] = { "nbd", "iscsi", "nfs", "smb" };

static uint64_t now(void)
{
	return cfs_clock_elapsed_ns(cfs_clock_system());
}

static void rest(void)
{
	cfs_clock_sleep_until(cfs_clock_system(), now() + LOOK_NS);
}

void exports_take(const struct cfs_cmd *cmd, const char *pool,
		  struct exports *ret)
{
	*ret = (struct exports){ .pool = pool };
	for (size_t i = 0; i < EXPORT_KINDS; i++)
		if (cfs_cmd_has(cmd, kinds[i]))
			ret->all[ret->count++] = (struct export){
				.kind = kinds[i],
				.address = cfs_cmd_str(cmd, kinds[i], ""),
				.pause_ns = PAUSE_MIN_NS,
			};
}

/* Beside this program, else wherever the shell would find it. */
static void find_helper(char ret[PATH_MAX])
{
	static const char name[] = "cfs-export";
	ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - sizeof(name));
	char *slash;

	ret[n > 0 ? n : 0] = '\0';
	slash = strrchr(ret, '/');
	if (slash)
		memcpy(slash + 1, name, sizeof(name));
	if (!slash || access(ret, X_OK) != 0)
		memcpy(ret, name, sizeof(name));
}

/* Between fork and exec: only what is safe there. */
static void become_helper(char **argv, int out_fd, pid_t parent)
{
	cfs_cmd_restore_signals();
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
		_exit(1);
	if (dup2(out_fd, STDOUT_FILENO) < 0)
		_exit(1);
	(void)close_range(STDERR_FILENO + 1, ~0u, 0);
	execvp(argv[0], argv);
	_exit(127);
}

/* "POOL: KIND at ADDRESS", which is its first line; 0 when that has come. */
static int hear(struct export *x, int fd)
{
	const uint64_t end_ns = now() + READY_NS;
	char line[PATH_MAX + 600] = "";
	size_t used = 0;
	const char *at;

	while (used < sizeof(line) - 1 && !memchr(line, '\n', used)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (now() >= end_ns || cfs_cmd_is_stopped(NULL))
			return -ETIMEDOUT;
		if (poll(&p, 1, 100) <= 0)
			continue;
		n = read(fd, line + used, sizeof(line) - 1 - used);
		if (n == 0)
			return -ECHILD;
		if (n > 0)
			used += (size_t)n;
	}
	line[used] = '\0';
	line[strcspn(line, "\n")] = '\0';
	at = strstr(line, " at ");
	(void)snprintf(x->shown, sizeof(x->shown), "%.500s",
		       at ? at + 4 : line);
	return 0;
}

static int start_one(struct exports *e, struct export *x)
{
	char helper[PATH_MAX], kind[16], address[512], pool[PATH_MAX];
	char *argv[] = { helper, kind, pool, *x->address ? address : NULL,
			 NULL };
	const pid_t self = getpid();
	int fds[2], r;

	find_helper(helper);
	(void)snprintf(kind, sizeof(kind), "%s", x->kind);
	(void)snprintf(pool, sizeof(pool), "%s", e->pool);
	(void)snprintf(address, sizeof(address), "%s", x->address);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	x->started_ns = now();
	x->pid = fork();
	if (x->pid == 0)
		become_helper(argv, fds[1], self);
	close(fds[1]);
	if (x->pid < 0)
		x->pid = 0;
	r = x->pid ? hear(x, fds[0]) : -EAGAIN;
	close(fds[0]);
	return r;
}

int exports_start(struct cfs_cmd *cmd, struct exports *e)
{
	for (size_t i = 0; i < e->count; i++) {
		int r = start_one(e, &e->all[i]);

		if (r == -ETIMEDOUT && cfs_cmd_is_stopped(NULL))
			return cfs_err_set(&cmd->err, -EINTR, "stopped");
		if (r < 0)
			return cfs_err_set(&cmd->err, -ECHILD,
					   "--%s: the "
					   "server did not start",
					   e->all[i].kind);
	}
	return 0;
}

/* It has ended by itself; begin anew, not too often. */
static void look_at(struct cfs_cmd *cmd, struct exports *e, struct export *x)
{
	int status = 0;

	if (x->pid > 0 && waitpid(x->pid, &status, WNOHANG) != x->pid)
		return;
	if (x->pid > 0) {
		x->pid = 0;
		if (now() - x->started_ns > PAUSE_MAX_NS)
			x->pause_ns = PAUSE_MIN_NS;
		x->next_ns = now() + x->pause_ns;
		x->pause_ns = CFS_MIN(2 * x->pause_ns, PAUSE_MAX_NS);
		cfs_cmd_warn(cmd,
			     "%s: --%s: the server has ended, and is "
			     "started again",
			     e->pool, x->kind);
	} else if (now() >= x->next_ns) {
		(void)start_one(e, x);
	}
}

void exports_watch(struct cfs_cmd *cmd, struct exports *e)
{
	if (e->count == 0)
		cfs_cmd_wait_for_stop();
	while (!cfs_cmd_is_stopped(NULL)) {
		for (size_t i = 0; i < e->count; i++)
			look_at(cmd, e, &e->all[i]);
		rest();
	}
}

static bool has_ended(struct export *x)
{
	if (x->pid > 0 && waitpid(x->pid, NULL, WNOHANG) != 0)
		x->pid = 0;
	return x->pid == 0;
}

void exports_stop(struct exports *e)
{
	const uint64_t end_ns = now() + STOP_NS;

	for (size_t i = 0; i < e->count; i++)
		if (e->all[i].pid > 0)
			(void)kill(e->all[i].pid, SIGTERM);
	for (size_t i = 0; i < e->count; i++) {
		while (!has_ended(&e->all[i]) && now() < end_ns)
			rest();
		if (e->all[i].pid > 0) {
			(void)kill(e->all[i].pid, SIGKILL);
			(void)waitpid(e->all[i].pid, NULL, 0);
			e->all[i].pid = 0;
		}
	}
}
