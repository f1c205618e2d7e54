/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Extended attributes.  Who may use which the kernel judges; what there is are
 * user, trusted and security, and the ACLs of system.
 */
#include "cfsmount/cfsmount.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define UNCLOSED   __attribute__((cleanup(put_volume)))
#define GROUPS_MAX 1024

static void put_volume(struct mnt_volume **v)
{
	mnt_volume_put(*v);
}

static bool has_prefix(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0 &&
	       name[strlen(prefix)];
}

static bool is_acl(const char *name)
{
	return strcmp(name, MNT_ACL_ACCESS) == 0 ||
	       strcmp(name, MNT_ACL_DEFAULT) == 0;
}

static bool is_known(const char *name)
{
	return has_prefix(name, "user.") || has_prefix(name, "trusted.") ||
	       has_prefix(name, "security.") || is_acl(name);
}

/* NULL: the answer was given. */
static struct mnt_volume *begin(fuse_req_t req, fuse_ino_t node, bool writes,
				uint64_t *ret_ino)
{
	struct mnt *m = mnt_of(req);
	struct mnt_volume *v = NULL;
	int code = 0;

	if (!mnt_is_virtual(m, node)) {
		v = mnt_volume_of(m, node, ret_ino);
		code = !v ? ESTALE : 0;
	} else {
		code = writes ? EROFS : ENODATA;
	}
	if (v && writes && !v->is_writable)
		code = EROFS;
	else if (v && !v->fs)
		code = EOPNOTSUPP;
	if (!code)
		return v;
	mnt_volume_put(v);
	fuse_reply_err(req, code);
	return NULL;
}

static void reply_node_err(fuse_req_t req, int r)
{
	fuse_reply_err(req, r == -ENOENT ? ESTALE : r < 0 ? mnt_errno(r) : 0);
}

/* ---- ACLs ---------------------------------------------------------------- */

static bool is_in_group(fuse_req_t req, uint32_t gid)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	gid_t *all;
	int n;
	bool is = ctx->uid == 0 || ctx->gid == gid;

	if (is)
		return true;
	all = calloc(GROUPS_MAX, sizeof(*all));
	if (!all)
		return false;
	n = fuse_req_getgroups(req, GROUPS_MAX, all);
	for (int i = 0; i < n && i < GROUPS_MAX && !is; i++)
		is = all[i] == gid;
	free(all);
	return is;
}

/* The permissions follow; one that says no more than they do is not kept. */
static int set_access(fuse_req_t req, struct mnt_volume *v, uint64_t ino,
		      const char *value, size_t size)
{
	struct cfs_fs_attr attr = { .mask = CFS_FS_SET_MODE };
	struct cfs_inode inode;
	int r = cfs_fs_getattr(v->fs, ino, &inode, NULL), r2;

	if (r < 0)
		return r;
	attr.mode = inode.mode & 07777;
	r = mnt_acl_check(value, size, &attr.mode);
	if (r < 0)
		return r;
	if (attr.mode & S_ISGID && !is_in_group(req, inode.gid))
		attr.mode &= ~(uint32_t)S_ISGID;
	r2 = r == 1 ? cfs_fs_xattr_remove(v->fs, ino, MNT_ACL_ACCESS, NULL)
		    : cfs_fs_xattr_set(v->fs, ino, MNT_ACL_ACCESS, value, size,
				       0, NULL);
	if (r2 < 0 && r2 != -ENODATA)
		return r2;
	return cfs_fs_setattr(v->fs, ino, &attr, NULL, NULL);
}

static int set_default(struct mnt_volume *v, uint64_t ino, const char *value,
		       size_t size)
{
	struct cfs_inode inode;
	uint32_t mode = 0;
	int r = cfs_fs_getattr(v->fs, ino, &inode, NULL);

	if (r == 0 && !S_ISDIR(inode.mode))
		r = -EACCES;
	if (r == 0)
		r = mnt_acl_check(value, size, &mode);
	if (r < 0)
		return r;
	mnt_parent_changed();
	return cfs_fs_xattr_set(v->fs, ino, MNT_ACL_DEFAULT, value, size, 0,
				NULL);
}

/* ---- calls --------------------------------------------------------------- */

/* Whoever has it open writes has to look for them. */
static void note_caps(struct mnt_volume *v, uint64_t ino)
{
	struct mnt *m = v->m;

	pthread_mutex_lock(&m->files_lock);
	for (struct mnt_file *f = m->files; f; f = f->after)
		if (f->v == v && f->ino == ino)
			atomic_store(&f->has_caps, true);
	pthread_mutex_unlock(&m->files_lock);
}

void mnt_setxattr(fuse_req_t req, fuse_ino_t node, const char *name,
		  const char *value, size_t size, int flags)
{
	UNCLOSED struct mnt_volume *v = NULL;
	uint32_t how = 0;
	uint64_t ino;
	int r;

	v = begin(req, node, true, &ino);
	if (!v)
		return;
	if (flags & XATTR_CREATE)
		how |= CFS_FS_XATTR_CREATE;
	if (flags & XATTR_REPLACE)
		how |= CFS_FS_XATTR_REPLACE;
	if (!is_known(name))
		r = -EOPNOTSUPP;
	else if (strcmp(name, MNT_ACL_ACCESS) == 0)
		r = set_access(req, v, ino, value, size);
	else if (strcmp(name, MNT_ACL_DEFAULT) == 0)
		r = set_default(v, ino, value, size);
	else
		r = cfs_fs_xattr_set(v->fs, ino, name, value, size, how, NULL);
	if (r == 0 && strcmp(name, "security.capability") == 0)
		note_caps(v, ino);
	reply_node_err(req, r);
}

static void reply_pid(fuse_req_t req, size_t size)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%ld", (long)getpid());

	if (!size)
		fuse_reply_xattr(req, (size_t)n);
	else if ((size_t)n > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, text, (size_t)n);
}

void mnt_getxattr(fuse_req_t req, fuse_ino_t node, const char *name,
		  size_t size)
{
	UNCLOSED struct mnt_volume *v = NULL;
	CFS_CLEANUP(cfs_freep) char *buf = NULL;
	uint64_t ino;
	size_t n = 0;
	int r;

	if (node == FUSE_ROOT_ID && strcmp(name, MNT_PID_NAME) == 0) {
		reply_pid(req, size);
		return;
	}
	v = begin(req, node, false, &ino);
	if (!v)
		return;
	if (!is_known(name)) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	buf = size ? malloc(size) : NULL;
	r = size && !buf
		    ? -ENOMEM
		    : cfs_fs_xattr_get(v->fs, ino, name, buf, size, &n, NULL);
	if (r < 0)
		reply_node_err(req, r);
	else if (!size)
		fuse_reply_xattr(req, n);
	else
		fuse_reply_buf(req, buf, n);
}

/* What root alone may see is not shown to others. */
static size_t filter(fuse_req_t req, char *names, size_t bytes)
{
	const bool is_root = fuse_req_ctx(req)->uid == 0;
	size_t used = 0, n;

	for (size_t at = 0; at < bytes; at += n) {
		n = strlen(names + at) + 1;
		if (!is_known(names + at) ||
		    (!is_root && has_prefix(names + at, "trusted.")))
			continue;
		memmove(names + used, names + at, n);
		used += n;
	}
	return used;
}

void mnt_listxattr(fuse_req_t req, fuse_ino_t node, size_t size)
{
	UNCLOSED struct mnt_volume *v = NULL;
	CFS_CLEANUP(cfs_freep) char *buf = malloc(CFS_FS_XATTR_LIST_BYTES_MAX);
	uint64_t ino;
	size_t n = 0;
	int r;

	if (mnt_is_virtual(mnt_of(req), node)) {
		if (size)
			fuse_reply_buf(req, NULL, 0);
		else
			fuse_reply_xattr(req, 0);
		return;
	}
	v = begin(req, node, false, &ino);
	if (!v)
		return;
	r = !buf ? -ENOMEM
		 : cfs_fs_xattr_list(v->fs, ino, buf,
				     CFS_FS_XATTR_LIST_BYTES_MAX, &n, NULL);
	if (r < 0) {
		reply_node_err(req, r);
		return;
	}
	n = filter(req, buf, n);
	if (!size)
		fuse_reply_xattr(req, n);
	else if (n > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, buf, n);
}

void mnt_removexattr(fuse_req_t req, fuse_ino_t node, const char *name)
{
	UNCLOSED struct mnt_volume *v = NULL;
	uint64_t ino;
	int r;

	v = begin(req, node, true, &ino);
	if (!v)
		return;
	r = is_known(name) ? cfs_fs_xattr_remove(v->fs, ino, name, NULL)
			   : -EOPNOTSUPP;
	if (is_acl(name)) {
		mnt_parent_changed();
		r = r == -ENODATA ? 0 : r;
	}
	reply_node_err(req, r);
}
