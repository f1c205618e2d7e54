/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The life of a mount: the pool, the service for others if it is ours, what is
 * to be mounted, the mount, calls, and all that in reverse.
 *
 * Behind the end of the mount everything is durable: the kernel's pages are
 * written when it is unmounted, by umount(8) or by us, and the session's when
 * it is closed.
 */
#include "cfsmount/cfsmount.h"

#include "base/cleanup.h"
#include "base/cond.h"
#include "common/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What others have asked for may end. */
#define GRACE_MS 10000u

static void on_log(void *arg, enum cfs_log_level level, const char *line)
{
	struct cfs_cmd *cmd = arg;

	if (level == CFS_LOG_WARNING)
		cfs_cmd_warn(cmd, "%s", line);
	else
		cfs_cmd_detail(cmd, "%s", line);
}

/* ---- the pool ------------------------------------------------------------ */

/* Whoever holds a pool for long answers others. */
static int serve(struct mnt *m, struct cfs_err *err)
{
	char directory[CFS_RUN_DIRECTORY_BYTES];
	const struct cfs_serve_options opt = { .run_directory = directory };
	static struct cfs_logger logger;
	int r = cfs_cmd_run_directory(m->cmd, directory);

	if (r < 0) {
		*err = m->cmd->err;
		return r;
	}
	logger = (struct cfs_logger){
		.write = on_log,
		.context = m->cmd,
		.max_level = m->cmd->is_verbose ? CFS_LOG_DEBUG
						: CFS_LOG_WARNING,
	};
	r = cfs_serve_new(m->s, &logger, &m->serve, err);
	return r < 0 ? r : cfs_serve_start(m->serve, &opt, err);
}

/* Writable even to read a volume, where that can be: so others are answered. */
static int open_pool(struct mnt *m, struct cfs_err *err)
{
	struct cfs_session_options opt = { .is_writable = true,
					   CFS_CMD_SESSION(m->cmd) };
	int r = cfs_session_open(m->pool, &opt, &m->s, err);

	if (m->opt.is_read_only &&
	    (r == -EROFS || r == -EACCES || r == -EPERM)) {
		opt.is_writable = false;
		r = cfs_session_open(m->pool, &opt, &m->s, err);
	}
	if (r == 0 && cfs_session_is_holder(m->s) &&
	    cfs_session_is_writable(m->s))
		r = serve(m, err);
	return r;
}

static int close_pool(struct mnt *m, struct cfs_err *err)
{
	struct cfs_err own = CFS_ERR_INIT;
	int r = 0, r2;

	if (m->serve)
		r = cfs_serve_stop(m->serve, GRACE_MS, err);
	cfs_serve_free(m->serve);
	m->serve = NULL;
	r2 = cfs_session_close(m->s, &own);
	m->s = NULL;
	if (r == 0 && r2 < 0) {
		*err = own;
		r = r2;
	}
	return r;
}

/* ---- stopping ------------------------------------------------------------ */

/* Pages that the kernel still has come as writes: so others answer meanwhile.
 * Whoever has a file open keeps it, but the mount is gone from the names. */
static void stop(struct mnt *m)
{
	CFS_CLEANUP(cfs_freep) char *path = NULL;
	int fd = -1;

	if (mnt_place_find(m, &path) == MNT_PLACE_THERE)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0) {
		(void)syncfs(fd);
		close(fd);
	}
	mnt_unmount(m);
}

/* ---- the whole ----------------------------------------------------------- */

static int prepare(struct mnt *m, struct cfs_err *err)
{
	struct mnt_volume *v;
	int r = mnt_cache_new(m, &m->cache, err);

	if (r == 0)
		r = mnt_locks_new(m, &m->locks, err);
	if (r == 0)
		r = open_pool(m, err);
	if (r == 0 && m->name.volume)
		r = mnt_volume_get(m, m->name.volume, m->name.snap, &v, err);
	if (r == 0)
		r = mnt_mount(m, err);
	return r;
}

static void locks_init(struct mnt *m)
{
	pthread_mutex_init(&m->slots_lock, NULL);
	pthread_mutex_init(&m->files_lock, NULL);
	pthread_mutex_init(&m->ghosts_lock, NULL);
	pthread_mutex_init(&m->loop_lock, NULL);
	cfs_cond_init(&m->loop_changed);
}

static void files_free(struct mnt *m)
{
	while (m->files)
		mnt_file_free(m->files);
}

static int finish(struct mnt *m, struct cfs_err *err)
{
	int r = 0;

	mnt_locks_free(m->locks);
	m->locks = NULL;
	files_free(m);
	mnt_ghosts_free(m);
	mnt_volumes_close(m);
	if (m->s) {
		mnt_linger(m);
		r = close_pool(m, err);
	}
	mnt_mount_free(m);
	mnt_cache_free(m->cache);
	m->cache = NULL;
	return r;
}

int mnt_run(struct mnt *m, mnt_ready_fn ready, void *arg, struct cfs_err *err)
{
	struct cfs_err own = CFS_ERR_INIT;
	int r, r2;

	locks_init(m);
	clock_gettime(CLOCK_REALTIME, &m->since);
	r = prepare(m, err);
	if (r == 0)
		r = mnt_loop_begin(m, err);
	if (r == 0) {
		mnt_cache_begin(m);
		ready(arg, 0, NULL);
		cfs_cmd_notify("READY=1");
		mnt_loop_wait(m);
		cfs_cmd_notify("STOPPING=1");
		if (!atomic_load(&m->is_ending))
			stop(m);
		mnt_loop_end(m);
	} else {
		mnt_unmount(m);
	}
	r2 = finish(m, &own);
	if (r == 0 && r2 < 0) {
		*err = own;
		r = r2;
	}
	return r;
}
