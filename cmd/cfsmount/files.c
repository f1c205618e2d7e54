/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Open files: bytes, sizes, attributes. */
#include "cfsmount/cfsmount.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CAPS_NAME "security.capability"
#define UNCLOSED  __attribute__((cleanup(put_volume)))

static void put_volume(struct mnt_volume **v)
{
	mnt_volume_put(*v);
}

/* NULL: the answer was given. */
static struct mnt_volume *volume_of(fuse_req_t req, fuse_ino_t node,
				    uint64_t *ret_ino)
{
	struct mnt_volume *v = mnt_volume_of(mnt_of(req), node, ret_ino);

	if (!v)
		fuse_reply_err(req, ESTALE);
	return v;
}

/* An inode that is not there is a node that is old. */
static void reply_node_err(fuse_req_t req, int r)
{
	fuse_reply_err(req, r == -ENOENT ? ESTALE : r < 0 ? mnt_errno(r) : 0);
}

/* ---- life ---------------------------------------------------------------- */

struct mnt_file *mnt_file_of(const struct fuse_file_info *fi)
{
	return (struct mnt_file *)(uintptr_t)fi->fh;
}

static void file_add(struct mnt *m, struct mnt_file *f)
{
	pthread_mutex_lock(&m->files_lock);
	f->after = m->files;
	f->before = &m->files;
	if (f->after)
		f->after->before = &f->after;
	m->files = f;
	pthread_mutex_unlock(&m->files_lock);
}

int mnt_file_new(struct mnt_volume *v, uint64_t ino, struct mnt_file **ret)
{
	struct mnt_file *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	r = v->fs ? cfs_fs_open_ino(v->fs, ino, NULL) : 0;
	if (r < 0) {
		free(f);
		return r;
	}
	f->v = v;
	f->ino = ino;
	pthread_mutex_init(&f->lock, NULL);
	mnt_volume_use(v);
	file_add(v->m, f);
	*ret = f;
	return 0;
}

void mnt_file_free(struct mnt_file *f)
{
	struct mnt *m = f->v->m;

	pthread_mutex_lock(&m->files_lock);
	*f->before = f->after;
	if (f->after)
		f->after->before = f->before;
	pthread_mutex_unlock(&m->files_lock);
	if (f->v->fs)
		(void)cfs_fs_close_ino(f->v->fs, f->ino, NULL);
	mnt_volume_put(f->v);
	pthread_mutex_destroy(&f->lock);
	free(f->entries);
	free(f->names);
	free(f);
}

/* ---- set-id bits and capabilities ---------------------------------------- */

/* What a change of the content or the owner takes away. */
static uint32_t kills_of(const struct cfs_inode *inode)
{
	uint32_t kills = inode->mode & S_ISUID;

	if (inode->mode & S_ISGID && inode->mode & S_IXGRP)
		kills |= S_ISGID;
	return S_ISREG(inode->mode) ? kills : 0;
}

static int kill_bits(struct mnt_volume *v, uint64_t ino)
{
	struct cfs_fs_attr attr = { .mask = CFS_FS_SET_MODE };
	struct cfs_inode inode;
	int r = cfs_fs_getattr(v->fs, ino, &inode, NULL);

	if (r < 0 || !kills_of(&inode))
		return r;
	attr.mode = inode.mode & 07777 & ~kills_of(&inode);
	return cfs_fs_setattr(v->fs, ino, &attr, NULL, NULL);
}

static bool has_caps(struct mnt_volume *v, uint64_t ino)
{
	size_t n = 0;

	return cfs_fs_xattr_get(v->fs, ino, CAPS_NAME, NULL, 0, &n, NULL) == 0;
}

void mnt_drop_caps(struct mnt_volume *v, uint64_t ino)
{
	(void)cfs_fs_xattr_remove(v->fs, ino, CAPS_NAME, NULL);
}

/* ---- attributes ---------------------------------------------------------- */

void mnt_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	UNCLOSED struct mnt_volume *v = NULL;
	struct mnt *m = mnt_of(req);
	struct mnt_keep keep;
	struct stat st;
	uint64_t ino;
	int r;

	(void)fi;
	if (mnt_is_virtual(m, node)) {
		mnt_virtual_attr(m, node, &st);
		r = mnt_virtual_exists(m, node);
		if (r < 0)
			fuse_reply_err(req, ESTALE);
		else
			fuse_reply_attr(req, &st, 1);
		return;
	}
	v = volume_of(req, node, &ino);
	if (!v)
		return;
	keep = mnt_cache_look(v);
	r = mnt_stat_of(v, ino, &st);
	if (r < 0) {
		reply_node_err(req, r);
		return;
	}
	fuse_reply_attr(req, &st, mnt_cache_enter(v, &keep));
	mnt_cache_leave(v->m);
}

static int64_t ns_of(const struct timespec *t)
{
	int64_t ns;

	if (__builtin_mul_overflow((int64_t)t->tv_sec, (int64_t)CFS_NS_PER_S,
				   &ns) ||
	    __builtin_add_overflow(ns, (int64_t)t->tv_nsec, &ns))
		return t->tv_sec < 0 ? INT64_MIN + 1 : INT64_MAX - 1;
	return ns;
}

static void attr_of(const struct stat *attr, int to_set,
		    struct cfs_fs_attr *ret)
{
	*ret = (struct cfs_fs_attr){
		.mode = attr->st_mode & 07777,
		.uid = attr->st_uid,
		.gid = attr->st_gid,
		.atime_ns = ns_of(&attr->st_atim),
		.mtime_ns = ns_of(&attr->st_mtim),
	};
	if (to_set & FUSE_SET_ATTR_MODE)
		ret->mask |= CFS_FS_SET_MODE;
	if (to_set & FUSE_SET_ATTR_UID)
		ret->mask |= CFS_FS_SET_UID;
	if (to_set & FUSE_SET_ATTR_GID)
		ret->mask |= CFS_FS_SET_GID;
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW))
		ret->mask |= CFS_FS_SET_ATIME;
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		ret->mask |= CFS_FS_SET_MTIME;
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		ret->atime_ns = CFS_FS_TIME_NOW;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		ret->mtime_ns = CFS_FS_TIME_NOW;
}

/* Another owner: bits that gave rights under the old one go. */
static int change_owner(struct mnt_volume *v, uint64_t ino,
			struct cfs_fs_attr *attr)
{
	struct cfs_inode inode;
	int r;

	if (!(attr->mask & (CFS_FS_SET_UID | CFS_FS_SET_GID)) ||
	    !v->m->has_killpriv)
		return 0;
	r = cfs_fs_getattr(v->fs, ino, &inode, NULL);
	if (r < 0)
		return r;
	if (kills_of(&inode)) {
		if (!(attr->mask & CFS_FS_SET_MODE))
			attr->mode = inode.mode & 07777;
		attr->mode &= ~kills_of(&inode);
		attr->mask |= CFS_FS_SET_MODE;
	}
	if (S_ISREG(inode.mode))
		mnt_drop_caps(v, ino);
	return 0;
}

static int change(struct mnt_volume *v, uint64_t ino, const struct stat *attr,
		  int to_set, struct cfs_inode *ret)
{
	struct cfs_fs_attr change;
	int r = 0;

	attr_of(attr, to_set, &change);
	if (to_set & FUSE_SET_ATTR_SIZE) {
		if (attr->st_size < 0)
			return -EINVAL;
		r = cfs_fs_truncate(v->fs, ino, (uint64_t)attr->st_size, NULL);
		if (r == 0 && v->m->has_killpriv) {
			if (to_set & FUSE_SET_ATTR_KILL_SUID)
				r = kill_bits(v, ino);
			mnt_drop_caps(v, ino);
		}
		/* It set them itself, to the same moment. */
		if (to_set & FUSE_SET_ATTR_MTIME_NOW)
			change.mask &= ~CFS_FS_SET_MTIME;
	}
	if (r == 0)
		r = change_owner(v, ino, &change);
	if (r == 0 && change.mask & CFS_FS_SET_MODE)
		r = mnt_acl_chmod(v, ino, change.mode);
	if (r < 0)
		return r;
	if (change.mask & (CFS_FS_SET_MODE | CFS_FS_SET_GID))
		mnt_parent_changed();
	return change.mask || !(to_set & FUSE_SET_ATTR_SIZE)
		       ? cfs_fs_setattr(v->fs, ino, &change, ret, NULL)
		       : cfs_fs_getattr(v->fs, ino, ret, NULL);
}

void mnt_setattr(fuse_req_t req, fuse_ino_t node, struct stat *attr, int to_set,
		 struct fuse_file_info *fi)
{
	UNCLOSED struct mnt_volume *v = NULL;
	struct mnt *m = mnt_of(req);
	struct cfs_inode inode;
	struct mnt_keep keep;
	struct stat st;
	uint64_t ino;
	int r;

	(void)fi;
	if (mnt_is_virtual(m, node)) {
		fuse_reply_err(req, EROFS);
		return;
	}
	v = volume_of(req, node, &ino);
	if (!v)
		return;
	if (!v->is_writable || !v->fs) {
		fuse_reply_err(req, v->is_writable ? EPERM : EROFS);
		return;
	}
	keep = mnt_cache_look(v);
	r = change(v, ino, attr, to_set, &inode);
	if (r < 0) {
		reply_node_err(req, r);
		return;
	}
	mnt_stat(v, ino, &inode, &st);
	fuse_reply_attr(req, &st, mnt_cache_enter(v, &keep));
	mnt_cache_leave(v->m);
}

/* ---- open and close ------------------------------------------------------ */

void mnt_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	UNCLOSED struct mnt_volume *v = NULL;
	const bool writes = (fi->flags & O_ACCMODE) != O_RDONLY;
	struct mnt_file *f;
	uint64_t ino;
	int r;

	if (mnt_is_virtual(mnt_of(req), node)) {
		fuse_reply_err(req, EISDIR);
		return;
	}
	v = volume_of(req, node, &ino);
	if (!v)
		return;
	if (writes && !v->is_writable) {
		fuse_reply_err(req, EROFS);
		return;
	}
	r = mnt_file_new(v, ino, &f);
	if (r < 0) {
		reply_node_err(req, r);
		return;
	}
	if (v->fs && writes && v->m->has_killpriv)
		atomic_store(&f->has_caps, has_caps(v, ino));
	atomic_store(&f->reads_atime, v->fs && v->is_writable &&
					      v->m->opt.has_relatime &&
					      !(fi->flags & O_NOATIME));
	fi->fh = (uint64_t)(uintptr_t)f;
	/* Bytes of a LUN are others' too; of a file the kernel asks for the
	 * time before it uses what it has. */
	fi->direct_io = !v->fs;
	fi->keep_cache = v->fs != NULL;
	if (fuse_reply_open(req, fi) < 0)
		mnt_file_free(f);
}

void mnt_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	(void)node;
	mnt_locks_closed(mnt_file_of(fi), fi->lock_owner, false);
	fuse_reply_err(req, 0);
}

void mnt_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct mnt_file *f = mnt_file_of(fi);

	(void)node;
	if (fi->flock_release)
		mnt_locks_closed(f, fi->lock_owner, true);
	mnt_locks_released(f);
	mnt_file_free(f);
	fuse_reply_err(req, 0);
}

/* ---- bytes --------------------------------------------------------------- */

/* As relatime(mount(8)) has it, at the first read of each open. */
static void note_read(struct mnt_file *f)
{
	const int64_t day = INT64_C(86400) * (int64_t)CFS_NS_PER_S;
	struct cfs_fs_attr attr = {
		.mask = CFS_FS_SET_ATIME | CFS_FS_SET_CTIME,
		.atime_ns = CFS_FS_TIME_NOW,
	};
	struct cfs_inode inode;

	if (!atomic_load_explicit(&f->reads_atime, memory_order_relaxed) ||
	    !atomic_exchange(&f->reads_atime, false))
		return;
	if (cfs_fs_getattr(f->v->fs, f->ino, &inode, NULL) < 0)
		return;
	attr.ctime_ns = inode.ctime_ns;
	if (inode.atime_ns <= inode.mtime_ns ||
	    inode.atime_ns <= inode.ctime_ns ||
	    (int64_t)cfs_clock_realtime_ns(cfs_clock_system()) -
			    inode.atime_ns >=
		    day)
		(void)cfs_fs_setattr(f->v->fs, f->ino, &attr, NULL, NULL);
}

/*
 * Of what is damaged nothing is handed out.  A buffered read that came back
 * short would look like the end of the file: it fails, and the kernel tries
 * page by page; so only those fail that are bad.
 */
void mnt_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
	      struct fuse_file_info *fi)
{
	struct mnt_file *f = mnt_file_of(fi);
	void *buf = mnt_read_buffer(size);
	struct cfs_err err = CFS_ERR_INIT;
	size_t got = 0;
	int r;

	(void)node;
	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	note_read(f);
	r = f->v->fs ? cfs_fs_read(f->v->fs, f->ino, (uint64_t)off, buf, size,
				   &got, &err)
		     : mnt_lun_read(f->v, (uint64_t)off, buf, size, &got);
	if (r < 0)
		mnt_note(mnt_of(req), "read", &err);
	if (r < 0 && !(got && (fi->flags & O_DIRECT || !f->v->fs)))
		reply_node_err(req, r);
	else
		fuse_reply_buf(req, buf, got);
}

ssize_t mnt_write_bytes(struct mnt *m, struct mnt_file *f, const void *buf,
			size_t size, uint64_t off, bool kills)
{
	struct cfs_err err = CFS_ERR_INIT;
	size_t written = 0;
	int r;

	if (!f->v->is_writable)
		return -EROFS;
	if (!f->v->fs)
		return mnt_lun_write(f->v, buf, size, off);
	r = cfs_fs_write(f->v->fs, f->ino, off, buf, size, &written, &err);
	if (r < 0)
		mnt_note(m, "write", &err);
	if (!written && r < 0)
		return r;
	if (m->has_killpriv && kills)
		(void)kill_bits(f->v, f->ino);
	if (atomic_load(&f->has_caps)) {
		mnt_drop_caps(f->v, f->ino);
		atomic_store(&f->has_caps, false);
	}
	return (ssize_t)written;
}

void mnt_write(fuse_req_t req, fuse_ino_t node, const char *buf, size_t size,
	       off_t off, struct fuse_file_info *fi)
{
	ssize_t n = mnt_write_bytes(mnt_of(req), mnt_file_of(fi), buf, size,
				    (uint64_t)off, false);

	(void)node;
	if (n < 0)
		reply_node_err(req, (int)n);
	else
		fuse_reply_write(req, (size_t)n);
}

static int sync_volume(struct mnt_volume *v, uint64_t ino, struct cfs_err *err)
{
	if (!v->is_writable)
		return 0;
	return v->fs ? cfs_fs_sync(v->fs, ino, err) : cfs_io_sync(v->io, err);
}

int mnt_sync_volume(struct mnt_volume *v, struct cfs_err *err)
{
	return sync_volume(v, v->root_ino, err);
}

int mnt_sync_all(struct mnt *m, struct cfs_err *err)
{
	int r = 0, r2;

	pthread_mutex_lock(&m->slots_lock);
	for (struct mnt_volume *v = m->open; v; v = v->next) {
		r2 = mnt_sync_volume(v, err);
		r = r < 0 ? r : r2;
	}
	pthread_mutex_unlock(&m->slots_lock);
	return r;
}

/* The kernel has no syncfs(2) for us: that of a directory above the volumes is
 * one of them all. */
void mnt_fsync(fuse_req_t req, fuse_ino_t node, int datasync,
	       struct fuse_file_info *fi)
{
	struct mnt_file *f = mnt_file_of(fi);
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	(void)datasync;
	if (mnt_is_virtual(mnt_of(req), node))
		r = mnt_sync_all(mnt_of(req), &err);
	else
		r = sync_volume(f->v, f->ino, &err);
	if (r < 0)
		mnt_note(mnt_of(req), "fsync", &err);
	mnt_reply_err(req, r);
}

/* ---- space --------------------------------------------------------------- */

/* Nothing is put aside, since nothing is written in place; but what cannot fit
 * is refused. */
static int allocate(struct mnt_file *f, uint64_t off, uint64_t length,
		    bool keeps_size)
{
	struct cfs_fs_space space;
	struct cfs_inode inode;
	int r = cfs_fs_statfs(f->v->fs, &space, NULL);

	if (r == 0 && space.free_bytes < length)
		r = -ENOSPC;
	if (r < 0)
		return r;
	r = cfs_fs_getattr(f->v->fs, f->ino, &inode, NULL);
	if (r < 0 || keeps_size || inode.size_bytes >= off + length)
		return r;
	return cfs_fs_truncate(f->v->fs, f->ino, off + length, NULL);
}

static int allocate_file(struct mnt_file *f, int mode, uint64_t off,
			 uint64_t length)
{
	const bool keeps_size = mode & FALLOC_FL_KEEP_SIZE;
	int r;

	if (off + length > CFS_FS_FILE_BYTES_MAX)
		return -EFBIG;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		r = cfs_fs_punch_hole(f->v->fs, f->ino, off, length, NULL);
	else if (mode & FALLOC_FL_ZERO_RANGE)
		r = cfs_fs_zero_range(f->v->fs, f->ino, off, length, keeps_size,
				      NULL);
	else
		r = allocate(f, off, length, keeps_size);
	if (r == 0 && f->v->m->has_killpriv)
		r = kill_bits(f->v, f->ino);
	return r;
}

void mnt_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t offset,
		   off_t length, struct fuse_file_info *fi)
{
	const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE |
			  FALLOC_FL_ZERO_RANGE;
	struct mnt_file *f = mnt_file_of(fi);
	int r = 0;

	(void)node;
	if (mode & ~known)
		r = -EOPNOTSUPP;
	else if (offset < 0 || length <= 0)
		r = -EINVAL;
	else if (!f->v->is_writable)
		r = -EROFS;
	if (r == 0)
		r = f->v->fs ? allocate_file(f, mode, (uint64_t)offset,
					     (uint64_t)length)
			     : mnt_lun_allocate(f->v, mode, (uint64_t)offset,
						(uint64_t)length);
	if (r < 0)
		reply_node_err(req, r);
	else
		fuse_reply_err(req, 0);
}

void mnt_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence,
	       struct fuse_file_info *fi)
{
	struct mnt_file *f = mnt_file_of(fi);
	uint64_t found = 0;
	int r;

	(void)node;
	if (off < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
		fuse_reply_err(req, off < 0 ? ENXIO : EINVAL);
		return;
	}
	if (f->v->fs)
		r = cfs_fs_seek(f->v->fs, f->ino, (uint64_t)off,
				whence == SEEK_DATA, &found, NULL);
	else if ((uint64_t)off >= mnt_lun_size(f->v, (uint64_t)off))
		r = -ENXIO;
	else
		r = cfs_io_seek(f->v->io, (uint64_t)off, whence == SEEK_DATA,
				&found, NULL);
	if (r < 0)
		reply_node_err(req, r);
	else
		fuse_reply_lseek(req, (off_t)found);
}

/* ---- the whole ----------------------------------------------------------- */

/* A limit of the container's is what it may hold. */
static void limit_space(struct mnt *m, const struct mnt_volume *v,
			struct cfs_fs_space *space)
{
	struct cfs_volume_info info;
	uint64_t left;

	if (!v || cfs_session_volume_brief(m->s, v->name, &info, NULL) < 0 ||
	    !info.limit_bytes)
		return;
	left = info.limit_bytes > info.container_used_bytes
		       ? info.limit_bytes - info.container_used_bytes
		       : 0;
	space->total_bytes = CFS_MIN(space->total_bytes, info.limit_bytes);
	space->free_bytes = CFS_MIN(space->free_bytes, left);
}

void mnt_statfs(fuse_req_t req, fuse_ino_t node)
{
	UNCLOSED struct mnt_volume *v = NULL;
	struct mnt *m = mnt_of(req);
	struct cfs_fs_space space = { .total_bytes = 0 };
	struct cfs_pool_info info;
	struct statvfs st = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_namemax = CFS_FILE_NAME_BYTES_MAX,
	};
	uint64_t ino;
	int r;

	if (!mnt_is_virtual(m, node))
		v = mnt_volume_of(m, node, &ino);
	if (v && v->fs) {
		r = cfs_fs_statfs(v->fs, &space, NULL);
	} else {
		r = cfs_session_pool_info(m->s, &info, NULL);
		space.total_bytes = info.capacity_bytes;
		space.free_bytes = info.free_bytes;
	}
	if (r < 0) {
		mnt_reply_err(req, r);
		return;
	}
	limit_space(m, v, &space);
	st.f_blocks = space.total_bytes / 4096;
	st.f_bfree = space.free_bytes / 4096;
	st.f_bavail = st.f_bfree;
	fuse_reply_statfs(req, &st);
}
