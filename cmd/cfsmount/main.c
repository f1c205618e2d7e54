/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * cfsmount: a tree, or a whole pool, as a directory.
 *
 * The work is done by a process in the background; the one that was started
 * waits until it says that the mount works, or why not, and ends with its
 * status.  Under the names of a helper of mount(8) or umount(8) it takes their
 * arguments (helper.c).
 */
#include "cfsmount/cfsmount.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- to the background --------------------------------------------------- */

/* What the child says through the pipe. */
struct word {
	int code;
	char msg[CFS_ERR_BYTES];
};

struct teller {
	struct cfs_cmd *cmd;
	int fd; /* -1: in the foreground */
	bool is_told;
};

static void tell(void *arg, int code, const struct cfs_err *err)
{
	struct word word = { .code = code };
	struct teller *t = arg;
	int null_fd;

	t->is_told = true;
	if (t->fd < 0)
		return;
	if (err)
		(void)snprintf(word.msg, sizeof(word.msg), "%s", err->msg);
	while (write(t->fd, &word, sizeof(word)) < 0 && errno == EINTR)
		;
	close(t->fd);
	t->fd = -1;
	/* Nobody's terminal, and nobody's directory. */
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0 || chdir("/") < 0)
		return;
	for (int fd = 0; fd <= 2; fd++)
		(void)dup2(null_fd, fd);
	close(null_fd);
}

/* The parent: how it went. */
static int hear(struct cfs_cmd *cmd, int fd, pid_t pid)
{
	struct word word;
	ssize_t n;
	int status;

	do {
		n = read(fd, &word, sizeof(word));
		if (n < 0 && errno == EINTR && cfs_cmd_is_stopped(NULL))
			(void)kill(pid, SIGTERM);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof(word)) {
		if (word.code == 0)
			return 0;
		return cfs_err_set(&cmd->err, word.code, "%s", word.msg);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return cfs_err_set(&cmd->err, -ECHILD, "it ended at once");
}

/* 1: we are the parent, and all is said; 0: go on. */
static int go_back(struct cfs_cmd *cmd, struct teller *t)
{
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return cfs_err_errno(&cmd->err, -errno, "pipe");
	pid = fork();
	if (pid < 0) {
		r = cfs_err_errno(&cmd->err, -errno, "fork");
		close(fds[0]);
		close(fds[1]);
		return r;
	}
	if (pid == 0) {
		/* Whoever started us waits for the end of what it gave us. */
		if (fds[1] > 3)
			(void)close_range(3, (unsigned int)fds[1] - 1, 0);
		(void)close_range((unsigned int)fds[1] + 1, ~0u, 0);
		t->fd = fds[1];
		(void)setsid();
		return 0;
	}
	close(fds[1]);
	r = hear(cmd, fds[0], pid);
	close(fds[0]);
	return r < 0 ? r : 1;
}

/* ---- what is asked for --------------------------------------------------- */

/* Good in another directory; a URI stays as it is. */
static char *absolute(const char *path)
{
	char *real = realpath(path, NULL);

	return real ? real : strdup(path);
}

static int take_paths(struct cfs_cmd *cmd, struct mnt *m)
{
	const char *place = cmd->operands[1];

	m->pool = absolute(m->name.pool);
	m->mountpoint = realpath(place, NULL);
	if (!m->mountpoint)
		return cfs_err_errno(&cmd->err, -errno, "%s", place);
	if (!m->pool)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < cmd->search_count; i++) {
		cmd->search[i] = absolute(cmd->search[i]);
		if (!cmd->search[i])
			return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	}
	return 0;
}

static int take_options(struct cfs_cmd *cmd, struct mnt *m)
{
	const bool is_root = geteuid() == 0;
	int r = 0;

	m->opt.has_cache = true;
	m->opt.has_relatime = true;
	m->opt.has_no_other = !is_root;
	m->opt.is_foreground = cfs_cmd_has(cmd, "foreground");
	m->opt.is_read_only = m->name.snap != NULL;
	/* As any file system that root mounts. */
	if (is_root)
		r = mnt_options_add(cmd, &m->opt, "suid,dev");
	for (size_t i = 0; i < cfs_cmd_count(cmd, "options") && r == 0; i++)
		r = mnt_options_parse(
			cmd, cfs_cmd_value(cmd, "options", i)->text, &m->opt);
	return r;
}

/* Each open file of the mount is none of ours, but pools have devices. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	    limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void mnt_freep(struct mnt **m)
{
	if (!*m)
		return;
	mnt_options_done(&(*m)->opt);
	cfs_name_done(&(*m)->name);
	free((*m)->pool);
	free((*m)->mountpoint);
	free(*m);
}

static int mount_and_answer(struct cfs_cmd *cmd, struct mnt *m)
{
	struct teller t = { .cmd = cmd, .fd = -1 };
	int r = 0;

	if (!m->opt.is_foreground)
		r = go_back(cmd, &t);
	if (r != 0)
		return r < 0 ? r : 0;
	raise_limits();
	r = mnt_run(m, tell, &t, &cmd->err);
	if (t.is_told || m->opt.is_foreground)
		return r;
	(void)cfs_cmd_wrap(cmd, cmd->operands[0], r);
	tell(&t, r, &cmd->err);
	_exit(1); /* the parent says it */
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(mnt_freep) struct mnt *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	m->cmd = cmd;
	r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_ANY_SNAP, &m->name);
	if (r == 0)
		r = take_options(cmd, m);
	if (r == 0)
		r = take_paths(cmd, m);
	if (r < 0)
		return r;
	m->is_whole = !m->name.volume;
	r = mount_and_answer(cmd, m);
	return r < 0 && !cmd->is_usage ? cfs_cmd_wrap(cmd, cmd->operands[0], r)
				       : r;
}

const struct cfs_verb cfsmount_verb = {
	.operands = "POOL[:VOLUME[@SNAP]] MOUNTPOINT",
	.help = "mount a tree, or a whole pool",
	.more = "Returns when the mount works, and goes on in the background; "
		"umount(8) or SIGTERM end it, and then all is durable. Of a "
		"whole pool each tree is a directory and each LUN a file; a "
		"LUN alone is mounted on a file. Snapshots are found under "
		".snapshots/SNAP.\n"
		"If nobody holds the pool, the mount does, and answers other "
		"tools; else it works beside the one who does.\n"
		"OPTIONS, separated by commas: ro; snapdir=hidden|visible|off; "
		"noatime; nocache; noallow_other; and suid, dev, exec, sync "
		"and their like, as mount(8) has them.",
	.examples = "cfsmount pool.img:home /mnt\n"
		    "cfsmount pool.img:home@monday /mnt\n"
		    "mount -t fuse.cfs -o noatime /dev/sdb:home /home",
	.opts = CFS_OPTS({ .name = "options",
			   .letter = 'o',
			   .type = CFS_OPT_STRING,
			   .argument = "OPTIONS",
			   .max_count = CFS_OPT_MANY,
			   .help = "as mount(8) has them; may be repeated" },
			 { .name = "foreground",
			   .letter = 'f',
			   .help = "stay in the foreground" }),
	.common = CFS_COMMON_WAIT | CFS_COMMON_SEARCH,
	.flags = CFS_VERB_NO_JSON,
	.min_operands = 2,
	.max_operands = 2,
	.run = run,
};

static const struct cfs_verb *const verbs[] = { &cfsmount_verb, NULL };

static const struct cfs_tool tool = {
	.name = "cfsmount",
	.help = "mount a tree, or a whole pool",
	.verbs = verbs,
};

/* ---- under which name ---------------------------------------------------- */

int main(int argc, char **argv)
{
	const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;

	name = name ? name + 1 : argc > 0 ? argv[0] : "";
	if (strncmp(name, "mount.", 6) == 0)
		return mnt_mount_helper(&tool, argc, argv);
	if (strncmp(name, "umount.", 7) == 0)
		return mnt_umount_helper(argc, argv);
	return cfs_tool_main(&tool, argc, argv);
}
