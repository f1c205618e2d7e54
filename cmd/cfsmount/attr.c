/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Attributes and errors, as the kernel wants them. */
#include "cfsmount/cfsmount.h"

#include "base/clock.h"

#include <string.h>
#include <sys/sysmacros.h>

/* What a count of blocks costs is in proportion to the extents: of a file that
 * has many it is not counted more often than this. */
#define BLOCKS_NS    (CFS_NS_PER_S / 2)
#define BLOCKS_LARGE (UINT64_C(16) << 20)
#define BLOCKS_KEPT  256u

struct mnt *mnt_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* What has a meaning for a caller of POSIX stays; the rest is that the storage
 * failed, whatever the reason. */
int mnt_errno(int r)
{
	switch (-r) {
	case EUCLEAN:
	case EMEDIUMTYPE:
	case ENODEV:
	case ECONNRESET:
	case ESHUTDOWN:
	case EPIPE:
	case EPROTO:
	case EBUSY:
	case EAGAIN:
	case EBADF:
	case ETIMEDOUT:
	case ESTALE: /* the lease; a node that is gone is told elsewhere */
		return EIO;
	case ENOTSUP:
		return EOPNOTSUPP;
	default:
		return -r;
	}
}

void mnt_note(struct mnt *m, const char *what, const struct cfs_err *err)
{
	if (mnt_errno(err->code) == EIO || err->code == -EROFS)
		cfs_cmd_warn(m->cmd, "%s: %s: %s", m->mountpoint, what,
			     err->msg);
}

void mnt_reply_err(fuse_req_t req, int r)
{
	fuse_reply_err(req, r < 0 ? mnt_errno(r) : 0);
}

static struct timespec time_of(int64_t ns)
{
	int64_t seconds = ns / (int64_t)CFS_NS_PER_S;
	int64_t rest = ns % (int64_t)CFS_NS_PER_S;

	if (rest < 0) {
		rest += (int64_t)CFS_NS_PER_S;
		seconds--;
	}
	return (struct timespec){ .tv_sec = seconds, .tv_nsec = rest };
}

/* ---- blocks -------------------------------------------------------------- */

struct blocks {
	const struct mnt_volume *v;
	uint64_t ino, change, count, at_ns;
};

static struct blocks kept[BLOCKS_KEPT];
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

static bool find_kept(const struct mnt_volume *v, uint64_t ino,
		      const struct cfs_inode *inode, uint64_t now,
		      uint64_t *ret)
{
	const struct blocks *b = &kept[ino % BLOCKS_KEPT];
	bool is;

	pthread_mutex_lock(&kept_lock);
	is = b->v == v && b->ino == ino &&
	     (b->change == inode->change || now - b->at_ns < BLOCKS_NS);
	*ret = b->count;
	pthread_mutex_unlock(&kept_lock);
	return is;
}

static uint64_t blocks_of(struct mnt_volume *v, uint64_t ino,
			  const struct cfs_inode *inode)
{
	const bool is_large = inode->size_bytes > BLOCKS_LARGE;
	uint64_t count = 0, now = 0;

	if (!S_ISREG(inode->mode) || inode->size_bytes == 0)
		return 0;
	if (is_large) {
		now = cfs_clock_elapsed_ns(cfs_clock_system());
		if (find_kept(v, ino, inode, now, &count))
			return count;
	}
	if (cfs_fs_block_count(v->fs, ino, &count, NULL) < 0)
		return (inode->size_bytes + 4095) / 4096;
	if (is_large) {
		pthread_mutex_lock(&kept_lock);
		kept[ino % BLOCKS_KEPT] =
			(struct blocks){ v, ino, inode->change, count, now };
		pthread_mutex_unlock(&kept_lock);
	}
	return count;
}

/* ---- attributes ---------------------------------------------------------- */

void mnt_stat(struct mnt_volume *v, uint64_t ino, const struct cfs_inode *inode,
	      struct stat *ret)
{
	const uint64_t slot = (uint64_t)v->slot << MNT_SLOT_SHIFT;
	const bool is_dev = S_ISCHR(inode->mode) || S_ISBLK(inode->mode);

	*ret = (struct stat){
		.st_ino = slot | ino,
		.st_mode = inode->mode,
		.st_nlink = inode->nlink,
		.st_uid = inode->uid,
		.st_gid = inode->gid,
		.st_size = (off_t)inode->size_bytes,
		.st_blksize = 4096,
		.st_blocks = (blkcnt_t)blocks_of(v, ino, inode) * 8,
		.st_atim = time_of(inode->atime_ns),
		.st_mtim = time_of(inode->mtime_ns),
		.st_ctim = time_of(inode->ctime_ns),
	};
	if (is_dev)
		ret->st_rdev = makedev((unsigned int)(inode->rdev >> 32),
				       (unsigned int)inode->rdev);
	/* A directory's bytes are its entries: it has no others. */
	if (S_ISDIR(inode->mode))
		ret->st_size = (off_t)inode->entry_count;
}

int mnt_stat_of(struct mnt_volume *v, uint64_t ino, struct stat *ret)
{
	struct cfs_inode inode;
	int r;

	if (!v->fs) {
		mnt_lun_stat(v, ret);
		return ino == v->root_ino ? 0 : -ESTALE;
	}
	r = cfs_fs_getattr(v->fs, ino, &inode, NULL);
	if (r == 0)
		mnt_stat(v, ino, &inode, ret);
	return r;
}

/* ---- entries ------------------------------------------------------------- */

void mnt_fill_entry(struct mnt_volume *v, uint64_t ino,
		    const struct cfs_inode *inode, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){
		.ino = mnt_node(v, ino),
		.generation = v->generation,
	};
	mnt_stat(v, ino, inode, &ret->attr);
}

void mnt_reply_entry(fuse_req_t req, struct mnt_volume *v, uint64_t ino,
		     const struct cfs_inode *inode, const struct mnt_keep *keep)
{
	struct fuse_entry_param e;

	mnt_fill_entry(v, ino, inode, &e);
	mnt_volume_known(v, ino);
	e.attr_timeout = mnt_cache_enter(v, keep);
	e.entry_timeout = e.attr_timeout;
	if (fuse_reply_entry(req, &e) < 0)
		mnt_volume_forgot(v->m, e.ino, 1);
	mnt_cache_leave(v->m);
}
