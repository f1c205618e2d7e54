/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The mount itself.  One session of libfuse mounts (as root, or by
 * fusermount3) and unmounts; another answers, over a way of ours for its bytes
 * (loop.c), which libfuse has only for descriptors that it did not open.
 */
#include "cfsmount/cfsmount.h"

#include "base/bits.h"
#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_opt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* What libfuse had to say last: it has no other way to tell. */
static char last_words[256];

static void on_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)vsnprintf(last_words, sizeof(last_words), fmt, ap);
	last_words[strcspn(last_words, "\n")] = '\0';
}

static const char *what_it_said(void)
{
	const char *said = last_words;

	if (strncmp(said, "fuse: ", 6) == 0)
		said += 6;
	return *said ? said : "refused";
}

/* ---- the first exchange -------------------------------------------------- */

static void on_init(void *user, struct fuse_conn_info *conn)
{
	const unsigned int wanted =
		FUSE_CAP_ASYNC_READ | FUSE_CAP_POSIX_LOCKS |
		FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_EXPORT_SUPPORT |
		FUSE_CAP_DONT_MASK | FUSE_CAP_AUTO_INVAL_DATA |
		FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
		FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
		FUSE_CAP_POSIX_ACL | FUSE_CAP_CACHE_SYMLINKS;

	(void)user;
	conn->want = wanted & conn->capable;
	conn->max_write = CFS_MIN(conn->max_write, MNT_IO_BYTES_MAX);
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	conn->time_gran = 1;
}

static const struct fuse_lowlevel_ops ops = {
	.init = on_init,
	.lookup = mnt_lookup,
	.forget = mnt_forget,
	.forget_multi = mnt_forget_multi,
	.getattr = mnt_getattr,
	.setattr = mnt_setattr,
	.readlink = mnt_readlink,
	.mknod = mnt_mknod,
	.mkdir = mnt_mkdir,
	.unlink = mnt_unlink,
	.rmdir = mnt_rmdir,
	.symlink = mnt_symlink,
	.rename = mnt_rename,
	.link = mnt_link,
	.open = mnt_open,
	.read = mnt_read,
	.write = mnt_write,
	.flush = mnt_flush,
	.release = mnt_release,
	.fsync = mnt_fsync,
	.opendir = mnt_opendir,
	.readdir = mnt_readdir,
	.readdirplus = mnt_readdirplus,
	.releasedir = mnt_releasedir,
	.fsyncdir = mnt_fsync,
	.statfs = mnt_statfs,
	.setxattr = mnt_setxattr,
	.getxattr = mnt_getxattr,
	.listxattr = mnt_listxattr,
	.removexattr = mnt_removexattr,
	.create = mnt_create,
	.getlk = mnt_getlk,
	.setlk = mnt_setlk,
	.flock = mnt_flock,
	.fallocate = mnt_fallocate,
	.lseek = mnt_lseek,
};

/* ---- mounting ------------------------------------------------------------ */

static int check_place(struct mnt *m, struct cfs_err *err)
{
	const bool is_file = !m->is_whole && !m->slots[0]->fs;
	struct stat st;

	if (stat(m->mountpoint, &st) < 0)
		return cfs_err_errno(err, -errno, "%s", m->mountpoint);
	if (is_file && !S_ISREG(st.st_mode))
		return cfs_err_set(err, -EISDIR,
				   "%s: a LUN is mounted on a "
				   "file, not on a directory: mount the pool "
				   "for a directory of LUNs",
				   m->mountpoint);
	if (!is_file && !S_ISDIR(st.st_mode))
		return cfs_err_set(err, -ENOTDIR, "%s: not a directory",
				   m->mountpoint);
	return 0;
}

/* A comma, and what would be one, belong to the list of options. */
static void put_escaped(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (*text == ',' || *text == '\\')
			fputc('\\', f);
		fputc(*text, f);
	}
}

static char *options_of(struct mnt *m)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return NULL;
	fprintf(f, "subtype=cfs,default_permissions,fsname=");
	put_escaped(f, m->name.is_env_pool ? m->pool : m->name.pool);
	if (m->name.volume) {
		fputc(':', f);
		put_escaped(f, m->name.volume);
	}
	if (m->name.snap) {
		fputc('@', f);
		put_escaped(f, m->name.snap);
	}
	fprintf(f, ",%s", m->opt.is_read_only ? "ro" : "rw");
	if (!m->opt.has_no_other)
		fprintf(f, ",allow_other");
	if (m->opt.fuse)
		fprintf(f, ",%s", m->opt.fuse);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* Of libfuse's, with the options @text; "" has none. */
static struct fuse_session *session_new(const char *text,
					const struct fuse_lowlevel_ops *calls,
					struct mnt *m)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_session *se = NULL;

	if (fuse_opt_add_arg(&args, "cfsmount") == 0 &&
	    (!*text || (fuse_opt_add_arg(&args, "-o") == 0 &&
			fuse_opt_add_arg(&args, text) == 0)))
		se = fuse_session_new(&args, calls, sizeof(*calls), m);
	fuse_opt_free_args(&args);
	return se;
}

static int mount_it(struct mnt *m, struct cfs_err *err)
{
	static const struct fuse_lowlevel_ops none = { .init = NULL };
	CFS_CLEANUP(cfs_freep) char *text = options_of(m);

	if (!text)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	m->mounted = session_new(text, &none, NULL);
	if (!m->mounted)
		return cfs_err_set(err, -EINVAL, "%s: %s", m->mountpoint,
				   what_it_said());
	errno = 0;
	if (fuse_session_mount(m->mounted, m->mountpoint) == 0) {
		mnt_place_note(m);
		return 0;
	}
	fuse_session_destroy(m->mounted);
	m->mounted = NULL;
	return cfs_err_set(err,
			   errno == EPERM || errno == EACCES ? -EPERM : -EIO,
			   "%s: %s", m->mountpoint, what_it_said());
}

int mnt_mount(struct mnt *m, struct cfs_err *err)
{
	int r = check_place(m, err);

	m->fd = -1;
	fuse_set_log_func(on_log);
	if (r == 0)
		r = mount_it(m, err);
	if (r < 0)
		return r;
	m->fd = dup(fuse_session_fd(m->mounted));
	m->se = m->fd < 0 ? NULL : session_new("", &ops, m);
	if (m->se && fuse_session_custom_io(m->se, &mnt_io, m->fd) == 0)
		return 0;
	mnt_unmount(m);
	return cfs_err_set(err, -ENOMEM, "%s: %s", m->mountpoint,
			   what_it_said());
}

/* The library unmounts whatever is at the path by which it mounted. */
void mnt_unmount(struct mnt *m)
{
	CFS_CLEANUP(cfs_freep) char *path = NULL;

	if (!m->mounted)
		return;
	switch (mnt_place_find(m, &path)) {
	case MNT_PLACE_UNKNOWN:
		fuse_session_unmount(m->mounted);
		break;
	case MNT_PLACE_THERE:
		if (strcmp(path, m->mountpoint) == 0)
			fuse_session_unmount(m->mounted);
		else if (umount2(path, MNT_DETACH) < 0)
			cfs_cmd_warn(m->cmd, "%s: %s", path, strerror(errno));
		break;
	case MNT_PLACE_COVERED:
		cfs_cmd_warn(m->cmd,
			     "%s: something else is mounted over it: it stays "
			     "below that, and nobody answers there",
			     path);
		break;
	case MNT_PLACE_GONE:
		break;
	}
}

/*
 * The library frees what it knows of the place only if it unmounts there.  It
 * does not if nobody is behind its descriptor any more, as behind a pipe that
 * nobody reads.
 */
static void forget_place(struct fuse_session *mounted)
{
	const int fd = fuse_session_fd(mounted);
	int fds[2];

	if (fd < 0 || pipe2(fds, O_CLOEXEC) < 0)
		return;
	close(fds[0]);
	if (dup2(fds[1], fd) == fd)
		fuse_session_unmount(mounted);
	close(fds[1]);
}

void mnt_mount_free(struct mnt *m)
{
	if (m->se)
		fuse_session_destroy(m->se); /* closes m->fd */
	if (m->mounted) {
		forget_place(m->mounted);
		fuse_session_destroy(m->mounted);
	}
	m->se = m->mounted = NULL;
}
