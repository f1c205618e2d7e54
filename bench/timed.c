/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Run a command and say what it took: a shell's own means cost more than some
 * of the commands measured here.
 *
 *   timed [-f PATH | -F PATH] COMMAND [ARGUMENT...]
 *
 * Prints {"wall_ms", "durable_ms", "written_bytes", "memory_mb"}: from before
 * the start of the process to its end; the same and an fsync of PATH (-f: of
 * the file, -F: of the whole file system that PATH is in); what the command and
 * its children gave to block devices, as the kernel counted it (preallocated
 * ranges are not in it, dirty pages of a file are); and the most memory that
 * was resident.  The command's output is
 * thrown away, its errors go to standard error, and its status is ours.
 */
#include "measure.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int die(const char *what)
{
	fprintf(stderr, "timed: %s: %s\n", what, strerror(errno));
	return 1;
}

/* The child's process id, or 0 with errno set. */
static pid_t start(char **argv)
{
	posix_spawn_file_actions_t actions;
	pid_t pid = 0;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r) {
		errno = r;
		return 0;
	}
	return pid;
}

static int make_durable(const char *path, bool whole)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -1;
	r = whole ? syncfs(fd) : fsync(fd);
	close(fd);
	return r;
}

int main(int argc, char **argv)
{
	const char *path = NULL;
	bool whole = false;
	struct rusage usage;
	uint64_t begin, end, durable;
	int status, opt;
	pid_t pid;

	while ((opt = getopt(argc, argv, "+f:F:")) != -1) {
		if (opt == '?')
			return 2;
		path = optarg;
		whole = opt == 'F';
	}
	if (optind == argc) {
		fprintf(stderr, "timed: no command\n");
		return 2;
	}
	begin = now_ns();
	pid = start(argv + optind);
	if (!pid)
		return die(argv[optind]);
	while (wait4(pid, &status, 0, &usage) < 0) {
		if (errno != EINTR)
			return die("wait");
	}
	end = now_ns();
	if (!WIFEXITED(status)) {
		fprintf(stderr, "timed: %s: killed by signal %d\n",
			argv[optind], WTERMSIG(status));
		return 1;
	}
	if (WEXITSTATUS(status))
		return WEXITSTATUS(status);
	if (path && make_durable(path, whole) < 0)
		return die(path);
	durable = now_ns();
	printf("{\"wall_ms\": %.4f, \"durable_ms\": %.4f, "
	       "\"written_bytes\": %ld, \"memory_mb\": %.1f}\n",
	       (double)(end - begin) / 1e6, (double)(durable - begin) / 1e6,
	       usage.ru_oublock * 512, (double)usage.ru_maxrss / 1024);
	return 0;
}
