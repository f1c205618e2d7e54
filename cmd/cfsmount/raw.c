/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What kernels ask and Debian's libfuse does not know yet, in the kernel's own
 * words (linux/fuse.h):
 *
 *   INIT     our word that we take set-id bits away ourselves: else the kernel
 *            asks for file capabilities at every write
 *   WRITE    with that, whether they are to go
 *   TMPFILE  O_TMPFILE
 *   STATX    with the time of birth
 */
#include "cfsmount/cfsmount.h"

#include "base/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* Younger than the header. */
#define OP_STATX   52
#define ALLOW_MMAP (UINT64_C(1) << 36) /* FUSE_DIRECT_IO_ALLOW_MMAP */

struct statx_time {
	int64_t seconds;
	uint32_t nanoseconds;
	int32_t unused;
};

/* struct fuse_statx and what stands around it. */
struct statx_out {
	uint64_t valid_seconds;
	uint32_t valid_nanoseconds;
	uint32_t flags;
	uint64_t spare[2];
	uint32_t mask, block_bytes;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, unused;
	uint64_t ino, size, blocks, attributes_mask;
	struct statx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t unused2[14];
};

_Static_assert(sizeof(struct statx_out) == 32 + 256, "as the kernel has it");

/* ---- the first exchange -------------------------------------------------- */

static uint64_t init_wants; /* of what the kernel offers */

static void note_init(struct mnt *m, const struct fuse_in_header *in,
		      size_t bytes)
{
	const struct fuse_init_in *init = (const void *)(in + 1);

	m->init_unique = in->unique;
	init_wants = FUSE_HANDLE_KILLPRIV_V2 & init->flags;
	if (bytes >= sizeof(*in) + sizeof(*init) && init->flags & FUSE_INIT_EXT)
		init_wants |= (uint64_t)init->flags2 << 32 & ALLOW_MMAP;
}

void mnt_raw_answer(struct mnt *m, struct iovec *iov, int count)
{
	const struct fuse_out_header *head = iov[0].iov_base;
	struct fuse_init_out *out;

	if (!m->init_unique || head->unique != m->init_unique || count < 2 ||
	    head->error || iov[1].iov_len < sizeof(*out))
		return;
	m->init_unique = 0;
	out = iov[1].iov_base;
	out->flags |= (uint32_t)init_wants;
	if (init_wants >> 32) {
		out->flags |= FUSE_INIT_EXT;
		out->flags2 |= (uint32_t)(init_wants >> 32);
	}
	m->has_killpriv = init_wants & FUSE_HANDLE_KILLPRIV_V2;
}

/* ---- answers ------------------------------------------------------------- */

static void answer(struct mnt *m, uint64_t unique, int error, const void *body,
		   size_t bytes)
{
	struct fuse_out_header head = {
		.len = (uint32_t)(sizeof(head) + (error ? 0 : bytes)),
		.error = -error,
		.unique = unique,
	};
	struct iovec iov[2] = {
		{ &head, sizeof(head) },
		{ (void *)(uintptr_t)body, error ? 0 : bytes },
	};
	ssize_t n = writev(m->fd, iov, error || !bytes ? 1 : 2);

	(void)n; /* an interrupted request has nobody who waits */
}

static int errno_of(ssize_t r)
{
	return r == -ENOENT ? ESTALE : r < 0 ? mnt_errno((int)r) : 0;
}

/* Where the file ends is not for the kernel to say: others append, too.  But
 * pages of its cache go where they belong. */
static ssize_t append(struct mnt *m, const struct fuse_write_in *w)
{
	struct mnt_file *f = (struct mnt_file *)(uintptr_t)w->fh;
	const bool kills = w->write_flags & FUSE_WRITE_KILL_SUIDGID;
	struct mnt_append piece;
	ssize_t n;

	if (!(w->flags & O_DIRECT) || !f->v->fs)
		return mnt_write_bytes(m, f, w + 1, w->size, CFS_FS_APPEND,
				       kills);
	n = mnt_append_begin(&piece, f, w->offset);
	if (n == 0)
		n = mnt_write_bytes(m, f, w + 1, w->size, CFS_FS_APPEND, kills);
	mnt_append_end(&piece, n == (ssize_t)w->size, w->offset + w->size);
	return n;
}

static void do_write(struct mnt *m, const struct fuse_in_header *in,
		     size_t bytes)
{
	const struct fuse_write_in *w = (const void *)(in + 1);
	struct fuse_write_out out = { .size = 0 };
	const size_t head = sizeof(*in) + sizeof(*w);
	ssize_t n;

	if (bytes < head || w->size > bytes - head) {
		answer(m, in->unique, EIO, NULL, 0);
		return;
	}
	if (w->flags & O_APPEND && !(w->write_flags & FUSE_WRITE_CACHE))
		n = append(m, w);
	else
		n = mnt_write_bytes(m, (struct mnt_file *)(uintptr_t)w->fh,
				    w + 1, w->size, w->offset,
				    w->write_flags & FUSE_WRITE_KILL_SUIDGID);
	if (n >= 0)
		out.size = (uint32_t)n;
	answer(m, in->unique, errno_of(n), &out, sizeof(out));
}

static void fill_attr(const struct stat *st, struct fuse_attr *ret)
{
	*ret = (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.blksize = (uint32_t)st->st_blksize,
	};
}

static void do_tmpfile(struct mnt *m, const struct fuse_in_header *in,
		       size_t bytes)
{
	const struct fuse_create_in *c = (const void *)(in + 1);
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;
	struct mnt_new what = { .uid = in->uid, .gid = in->gid };
	struct fuse_entry_param e;
	struct mnt_file *f = NULL;
	int r;

	if (bytes < sizeof(*in) + sizeof(*c)) {
		answer(m, in->unique, EINVAL, NULL, 0);
		return;
	}
	what.mode = S_IFREG | (c->mode & 07777);
	what.umask = c->umask;
	r = mnt_tmpfile(m, in->nodeid, &what, &e, &f);
	memset(&out, 0, sizeof(out));
	if (r == 0) {
		out.entry.nodeid = e.ino;
		out.entry.generation = e.generation;
		fill_attr(&e.attr, &out.entry.attr);
		out.open.fh = (uint64_t)(uintptr_t)f;
		out.open.open_flags = FOPEN_KEEP_CACHE;
	}
	answer(m, in->unique, r, &out, sizeof(out));
}

static struct statx_time statx_time(int64_t ns)
{
	int64_t s = ns / 1000000000, rest = ns % 1000000000;

	if (rest < 0) {
		rest += 1000000000;
		s--;
	}
	return (struct statx_time){ .seconds = s,
				    .nanoseconds = (uint32_t)rest };
}

static void fill_statx(const struct stat *st, const struct cfs_inode *inode,
		       struct statx_out *out)
{
	*out = (struct statx_out){
		.mask = STATX_BASIC_STATS | STATX_BTIME,
		.block_bytes = 4096,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mode = (uint16_t)st->st_mode,
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = statx_time(inode->atime_ns),
		.btime = statx_time(inode->btime_ns),
		.ctime = statx_time(inode->ctime_ns),
		.mtime = statx_time(inode->mtime_ns),
		.rdev_major = (uint32_t)(inode->rdev >> 32),
		.rdev_minor = (uint32_t)inode->rdev,
	};
}

/* Nothing of the answer is kept, so it needs no lease behind it. */
static void do_statx(struct mnt *m, const struct fuse_in_header *in)
{
	struct mnt_volume *v = NULL;
	struct cfs_inode inode;
	struct statx_out out;
	struct stat st;
	uint64_t ino;
	int r = ENOSYS;

	if (!mnt_is_virtual(m, in->nodeid))
		v = mnt_volume_of(m, in->nodeid, &ino);
	if (v && v->fs) {
		r = errno_of(cfs_fs_getattr(v->fs, ino, &inode, NULL));
		if (r == 0) {
			mnt_stat(v, ino, &inode, &st);
			fill_statx(&st, &inode, &out);
		}
	} else {
		/* ENOSYS would be for all: nothing here has a birth. */
		memset(&inode, 0, sizeof(inode));
		if (v) {
			r = errno_of(mnt_stat_of(v, ino, &st));
		} else {
			mnt_virtual_attr(m, in->nodeid, &st);
			r = mnt_is_virtual(m, in->nodeid) ? 0 : ESTALE;
		}
		inode.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 +
				 st.st_mtim.tv_nsec;
		inode.atime_ns = inode.ctime_ns = inode.mtime_ns;
		if (r == 0) {
			fill_statx(&st, &inode, &out);
			out.mask &= ~STATX_BTIME;
		}
	}
	mnt_volume_put(v);
	answer(m, in->unique, r, &out, sizeof(out));
}

bool mnt_raw(struct mnt *m, const void *request, size_t bytes)
{
	const struct fuse_in_header *in = request;

	if (bytes < sizeof(*in))
		return false;
	switch (in->opcode) {
	case FUSE_INIT:
		note_init(m, in, bytes);
		return false;
	case FUSE_WRITE:
		do_write(m, in, bytes);
		return true;
	case FUSE_TMPFILE:
		do_tmpfile(m, in, bytes);
		return true;
	case OP_STATX:
		do_statx(m, in);
		return true;
	default:
		return false;
	}
}

/* ---- readdirplus --------------------------------------------------------- */

void mnt_plus_forget(void *buf, size_t bytes)
{
	uint8_t *at = buf, *end = at + bytes;

	while (end - at >= (ptrdiff_t)FUSE_NAME_OFFSET_DIRENTPLUS) {
		struct fuse_direntplus *d =
			(struct fuse_direntplus *)(void *)at;

		d->entry_out.entry_valid = 0;
		d->entry_out.entry_valid_nsec = 0;
		d->entry_out.attr_valid = 0;
		d->entry_out.attr_valid_nsec = 0;
		at += FUSE_DIRENTPLUS_SIZE(d);
	}
}
