/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/run.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int cfs_run_directory(const char *run, char ret[CFS_RUN_DIRECTORY_BYTES],
		      struct cfs_err *err)
{
	const char *own = getenv("XDG_RUNTIME_DIR");
	int n;

	if (run)
		n = snprintf(ret, CFS_RUN_DIRECTORY_BYTES, "%s", run);
	else if (geteuid() == 0)
		n = snprintf(ret, CFS_RUN_DIRECTORY_BYTES, "/run/cfs");
	else if (own && *own)
		n = snprintf(ret, CFS_RUN_DIRECTORY_BYTES, "%s/cfs", own);
	else
		return cfs_err_set(err, -ENOENT,
				   "no directory for the "
				   "socket: set CFS_RUN");
	if (n < 0 || (size_t)n >= CFS_RUN_DIRECTORY_BYTES)
		return cfs_err_errno(err, -ENAMETOOLONG, "CFS_RUN");
	return 0;
}

int cfs_cmd_run_directory(struct cfs_cmd *cmd,
			  char ret[CFS_RUN_DIRECTORY_BYTES])
{
	return cfs_run_directory(cmd->env_run, ret, &cmd->err);
}

void cfs_cmd_notify(const char *state)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path ? strlen(path) : 0;
	ssize_t sent;
	int fd;

	if (n < 2 || n >= sizeof(to.sun_path) ||
	    (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(to.sun_path, path, n);
	if (path[0] == '@')
		to.sun_path[0] = '\0'; /* not a file's name */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL,
		      (const struct sockaddr *)&to,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	(void)sent; /* nobody is there to be told */
	close(fd);
}

void cfs_cmd_wait_for_stop(void)
{
	sigset_t stop, before;

	/* Blocked between the look and the sleep, or one could be missed. */
	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &stop, &before);
	while (!cfs_cmd_is_stopped(NULL))
		(void)ppoll(NULL, 0, NULL, &before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
