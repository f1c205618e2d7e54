/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names: finding, making, taking away, moving. */
#include "cfsmount/cfsmount.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* A removed directory that somebody may still be in. */
struct mnt_ghost {
	struct mnt_ghost *next;
	struct mnt_volume *v;
	uint64_t ino;
};

#define UNCLOSED __attribute__((cleanup(put_volume)))

static void put_volume(struct mnt_volume **v)
{
	mnt_volume_put(*v);
}

/* The volume and inode of a directory in which something is to be changed.
 * NULL: the answer was given. */
static struct mnt_volume *to_change(fuse_req_t req, fuse_ino_t parent,
				    const char *name, uint64_t *ret_ino)
{
	struct mnt *m = mnt_of(req);
	struct mnt_volume *v = NULL;

	if (mnt_is_virtual(m, parent)) {
		fuse_reply_err(req, EROFS);
		return NULL;
	}
	v = mnt_volume_of(m, parent, ret_ino);
	if (!v || !v->fs || !v->is_writable ||
	    mnt_is_snap_root(v, parent, name)) {
		fuse_reply_err(req, !v || !v->fs      ? ESTALE
				    : !v->is_writable ? EROFS
						      : EPERM);
		mnt_volume_put(v);
		return NULL;
	}
	return v;
}

bool mnt_is_snap_root(const struct mnt_volume *v, fuse_ino_t parent,
		      const char *name)
{
	return !v->snap && v->m->opt.snapdir != MNT_SNAPDIR_OFF && name &&
	       parent == mnt_node(v, v->root_ino) &&
	       strcmp(name, MNT_SNAPSHOTS) == 0;
}

/* ---- finding ------------------------------------------------------------- */

static void reply_virtual(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mnt *m = mnt_of(req);
	struct fuse_entry_param e;
	int r = mnt_virtual_lookup(m, parent, name, &e);

	if (r < 0)
		fuse_reply_err(req, r == -ESTALE ? ESTALE : mnt_errno(r));
	else if (fuse_reply_entry(req, &e) < 0)
		mnt_volume_forgot(m, e.ino, 1);
}

/* By its number: a handle of NFS. */
static void find_self(fuse_req_t req, struct mnt_volume *v, uint64_t ino)
{
	const struct mnt_keep keep = { .may = false };
	struct fuse_entry_param e = {
		.ino = mnt_node(v, ino),
		.generation = v->generation,
	};
	struct cfs_inode inode;
	int r;

	if (!v->fs) {
		r = mnt_stat_of(v, ino, &e.attr);
		if (r == 0)
			mnt_volume_known(v, ino);
		if (r < 0)
			fuse_reply_err(req, ESTALE);
		else
			fuse_reply_entry(req, &e);
		return;
	}
	r = cfs_fs_getattr(v->fs, ino, &inode, NULL);
	if (r < 0)
		fuse_reply_err(req, r == -ENOENT ? ESTALE : mnt_errno(r));
	else
		mnt_reply_entry(req, v, ino, &inode, &keep);
}

/* The directory, of no tree, that the root of a volume stands in. */
static void find_above(fuse_req_t req, struct mnt_volume *v)
{
	const char *slash = strchr(v->name, '/');
	struct mnt_volume *of;
	char name[260];

	if (!v->snap && !slash) {
		reply_virtual(req, FUSE_ROOT_ID, ".");
		return;
	}
	(void)snprintf(name, sizeof(name), "%.*s",
		       slash && !v->snap ? (int)(slash - v->name)
					 : (int)sizeof(name) - 1,
		       v->name);
	if (mnt_volume_get(v->m, name, NULL, &of, NULL) < 0) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	reply_virtual(req,
		      v->snap ? mnt_virtual_snapshots(of)
			      : mnt_virtual_clones(of),
		      ".");
	mnt_volume_put(of);
}

static bool find_special(fuse_req_t req, struct mnt_volume *v,
			 fuse_ino_t parent, uint64_t ino, const char *name)
{
	if (strcmp(name, ".") == 0) {
		find_self(req, v, ino);
		return true;
	}
	if (strcmp(name, "..") == 0 && ino == v->root_ino &&
	    (v->snap || v->m->is_whole)) {
		find_above(req, v);
		return true;
	}
	if (mnt_is_snap_root(v, parent, name)) {
		reply_virtual(req, mnt_virtual_snapshots(v), ".");
		return true;
	}
	return false;
}

static void reply_absent(fuse_req_t req, struct mnt_volume *v,
			 const struct mnt_keep *keep)
{
	struct fuse_entry_param e = { .ino = 0 };

	e.entry_timeout = mnt_cache_enter(v, keep);
	if (e.entry_timeout > 0)
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, ENOENT);
	mnt_cache_leave(v->m);
}

void mnt_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	UNCLOSED struct mnt_volume *v = NULL;
	struct cfs_inode inode;
	struct mnt_keep keep;
	uint64_t dir_ino, ino;
	int r;

	if (mnt_is_virtual(mnt_of(req), parent)) {
		reply_virtual(req, parent, name);
		return;
	}
	v = mnt_volume_of(mnt_of(req), parent, &dir_ino);
	if (!v) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (find_special(req, v, parent, dir_ino, name))
		return;
	if (!v->fs) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	keep = mnt_cache_look(v);
	r = cfs_fs_lookup(v->fs, dir_ino, name, strlen(name), &ino, &inode,
			  NULL);
	if (r == 0)
		mnt_reply_entry(req, v, ino, &inode, &keep);
	else if (r == -ENOENT)
		reply_absent(req, v, &keep);
	else
		mnt_reply_err(req, r);
}

/* ---- forgetting ---------------------------------------------------------- */

static void ghost_add(struct mnt_volume *v, uint64_t ino)
{
	struct mnt_ghost *g = malloc(sizeof(*g));

	if (!g) {
		(void)cfs_fs_close_ino(v->fs, ino, NULL);
		return;
	}
	*g = (struct mnt_ghost){ .v = v, .ino = ino };
	mnt_volume_use(v);
	pthread_mutex_lock(&v->m->ghosts_lock);
	g->next = v->m->ghosts;
	v->m->ghosts = g;
	atomic_store(&v->m->has_ghosts, true);
	pthread_mutex_unlock(&v->m->ghosts_lock);
}

static void ghost_free(struct mnt_ghost *g)
{
	(void)cfs_fs_close_ino(g->v->fs, g->ino, NULL);
	mnt_volume_put(g->v);
	free(g);
}

static void ghost_forget(struct mnt *m, fuse_ino_t node)
{
	struct mnt_ghost **at, *g = NULL;

	if (!atomic_load(&m->has_ghosts))
		return;
	pthread_mutex_lock(&m->ghosts_lock);
	for (at = &m->ghosts; *at; at = &(*at)->next)
		if (mnt_node((*at)->v, (*at)->ino) == node)
			break;
	g = *at;
	if (g)
		*at = g->next;
	atomic_store(&m->has_ghosts, m->ghosts != NULL);
	pthread_mutex_unlock(&m->ghosts_lock);
	if (g)
		ghost_free(g);
}

void mnt_ghosts_free(struct mnt *m)
{
	struct mnt_ghost *g;

	while ((g = m->ghosts)) {
		m->ghosts = g->next;
		ghost_free(g);
	}
}

static void forget(struct mnt *m, fuse_ino_t node, uint64_t count)
{
	ghost_forget(m, node);
	mnt_volume_forgot(m, node, count);
}

void mnt_forget(fuse_req_t req, fuse_ino_t node, uint64_t count)
{
	forget(mnt_of(req), node, count);
	fuse_reply_none(req);
}

void mnt_forget_multi(fuse_req_t req, size_t count,
		      struct fuse_forget_data *all)
{
	for (size_t i = 0; i < count; i++)
		forget(mnt_of(req), all[i].ino, all[i].nlookup);
	fuse_reply_none(req);
}

/* ---- making -------------------------------------------------------------- */

static struct mnt_new new_of(fuse_req_t req, mode_t mode)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct mnt_new){
		.mode = mode,
		.uid = ctx->uid,
		.gid = ctx->gid,
		.umask = ctx->umask,
	};
}

/* All that an inode is to be in this directory. */
static int spec_of(struct mnt_volume *v, uint64_t dir_ino,
		   const struct mnt_new *what, struct cfs_fs_spec *spec,
		   struct cfs_fs_xattr xattrs[2], struct mnt_acl_new *acl)
{
	const bool is_dir = S_ISDIR(what->mode);
	struct mnt_parent parent;
	int r = mnt_parent_look(v, dir_ino, &parent);

	if (r < 0)
		return r;
	*spec = (struct cfs_fs_spec){
		.mode = what->mode,
		.uid = what->uid,
		.gid = parent.is_setgid ? parent.gid : what->gid,
		.rdev = what->rdev,
		.target = what->target,
		.target_bytes = what->target ? strlen(what->target) : 0,
		.xattrs = xattrs,
	};
	if (S_ISLNK(what->mode))
		return 0;
	if (parent.has_default) {
		r = mnt_acl_inherit(v, dir_ino, what->umask, &spec->mode, acl);
		if (r < 0)
			return r;
	} else {
		spec->mode &= ~(what->umask & 0777);
	}
	if (parent.is_setgid && is_dir)
		spec->mode |= S_ISGID;
	if (acl->access_bytes)
		xattrs[spec->xattr_count++] = (struct cfs_fs_xattr){
			MNT_ACL_ACCESS, acl->access, acl->access_bytes
		};
	if (acl->default_bytes && is_dir)
		xattrs[spec->xattr_count++] = (struct cfs_fs_xattr){
			MNT_ACL_DEFAULT, acl->own_default, acl->default_bytes
		};
	return 0;
}

static int make(struct mnt_volume *v, uint64_t dir_ino, const char *name,
		const struct mnt_new *what, uint64_t *ret_ino,
		struct cfs_inode *ret)
{
	CFS_CLEANUP(mnt_acl_new_done) struct mnt_acl_new acl = { NULL };
	struct cfs_fs_xattr xattrs[2];
	struct cfs_fs_spec spec;
	struct cfs_err err = CFS_ERR_INIT;
	int r = spec_of(v, dir_ino, what, &spec, xattrs, &acl);

	if (r < 0)
		return r;
	r = cfs_fs_create_with(v->fs, dir_ino, name, strlen(name), &spec,
			       ret_ino, ret, &err);
	if (r < 0)
		mnt_note(v->m, "create", &err);
	return r;
}

static void make_and_reply(fuse_req_t req, fuse_ino_t parent, const char *name,
			   const struct mnt_new *what)
{
	UNCLOSED struct mnt_volume *v = NULL;
	struct cfs_inode inode;
	struct mnt_keep keep;
	uint64_t dir_ino, ino;
	int r;

	v = to_change(req, parent, name, &dir_ino);
	if (!v)
		return;
	keep = mnt_cache_look(v);
	r = make(v, dir_ino, name, what, &ino, &inode);
	if (r < 0)
		mnt_reply_err(req, r);
	else
		mnt_reply_entry(req, v, ino, &inode, &keep);
}

void mnt_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       dev_t rdev)
{
	struct mnt_new what = new_of(req, mode);

	if (S_ISCHR(mode) || S_ISBLK(mode))
		what.rdev = (uint64_t)major(rdev) << 32 | minor(rdev);
	make_and_reply(req, parent, name, &what);
}

void mnt_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	const struct mnt_new what = new_of(req, S_IFDIR | (mode & 07777));

	make_and_reply(req, parent, name, &what);
}

void mnt_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		 const char *name)
{
	struct mnt_new what = new_of(req, S_IFLNK | 0777);

	what.target = target;
	make_and_reply(req, parent, name, &what);
}

/* Somebody made it in the meantime: look again (the kernel does for this
 * error), and open what is there with its own permissions. */
static int create_errno(int r, int flags)
{
	return r == -EEXIST && !(flags & O_EXCL) ? ESTALE : mnt_errno(r);
}

void mnt_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		mode_t mode, struct fuse_file_info *fi)
{
	const struct mnt_new what = new_of(req, S_IFREG | (mode & 07777));
	UNCLOSED struct mnt_volume *v = NULL;
	struct fuse_entry_param e;
	struct mnt_file *f = NULL;
	struct cfs_inode inode;
	struct mnt_keep keep;
	uint64_t dir_ino, ino;
	int r;

	v = to_change(req, parent, name, &dir_ino);
	if (!v)
		return;
	keep = mnt_cache_look(v);
	r = make(v, dir_ino, name, &what, &ino, &inode);
	if (r == 0)
		r = mnt_file_new(v, ino, &f);
	if (r < 0) {
		fuse_reply_err(req, create_errno(r, fi->flags));
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)f;
	fi->keep_cache = 1;
	mnt_fill_entry(v, ino, &inode, &e);
	mnt_volume_known(v, ino);
	e.attr_timeout = mnt_cache_enter(v, &keep);
	e.entry_timeout = e.attr_timeout;
	r = fuse_reply_create(req, &e, fi);
	mnt_cache_leave(v->m);
	if (r < 0) {
		mnt_volume_forgot(v->m, e.ino, 1);
		mnt_file_free(f);
	}
}

int mnt_tmpfile(struct mnt *m, fuse_ino_t parent, const struct mnt_new *what,
		struct fuse_entry_param *ret, struct mnt_file **ret_file)
{
	CFS_CLEANUP(mnt_acl_new_done) struct mnt_acl_new acl = { NULL };
	UNCLOSED struct mnt_volume *v = NULL;
	struct cfs_fs_xattr xattrs[2];
	struct cfs_fs_spec spec;
	struct cfs_inode inode;
	uint64_t dir_ino, ino;
	int r;

	if (mnt_is_virtual(m, parent))
		return EROFS;
	v = mnt_volume_of(m, parent, &dir_ino);
	if (!v || !v->fs || !v->is_writable)
		return !v || !v->fs ? ESTALE : EROFS;
	r = spec_of(v, dir_ino, what, &spec, xattrs, &acl);
	if (r == 0)
		r = cfs_fs_create_nameless(v->fs, dir_ino, &spec, &ino, NULL);
	if (r < 0)
		return mnt_errno(r);
	r = cfs_fs_getattr(v->fs, ino, &inode, NULL);
	if (r == 0)
		r = mnt_file_new(v, ino, ret_file);
	(void)cfs_fs_close_ino(v->fs, ino, NULL);
	if (r < 0)
		return mnt_errno(r);
	mnt_fill_entry(v, ino, &inode, ret);
	mnt_volume_known(v, ino);
	return 0;
}

/* ---- taking away --------------------------------------------------------- */

void mnt_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	UNCLOSED struct mnt_volume *v = NULL;
	struct cfs_err err = CFS_ERR_INIT;
	uint64_t dir_ino;
	int r;

	v = to_change(req, parent, name, &dir_ino);
	if (!v)
		return;
	r = cfs_fs_unlink(v->fs, dir_ino, name, strlen(name), &err);
	if (r < 0)
		mnt_note(v->m, "unlink", &err);
	mnt_reply_err(req, r);
}

/* Somebody may be in it: it stays, without a name, until the kernel has
 * forgotten it. */
void mnt_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	UNCLOSED struct mnt_volume *v = NULL;
	uint64_t dir_ino, ino;
	int r;

	v = to_change(req, parent, name, &dir_ino);
	if (!v)
		return;
	r = cfs_fs_lookup(v->fs, dir_ino, name, strlen(name), &ino, NULL, NULL);
	if (r == 0)
		r = cfs_fs_open_ino(v->fs, ino, NULL);
	if (r < 0) {
		mnt_reply_err(req, r);
		return;
	}
	r = cfs_fs_rmdir(v->fs, dir_ino, name, strlen(name), NULL);
	if (r == 0)
		ghost_add(v, ino);
	else
		(void)cfs_fs_close_ino(v->fs, ino, NULL);
	mnt_reply_err(req, r);
}

/* ---- moving and linking -------------------------------------------------- */

void mnt_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		fuse_ino_t new_parent, const char *new_name, unsigned int flags)
{
	UNCLOSED struct mnt_volume *v = NULL;
	UNCLOSED struct mnt_volume *to = NULL;
	struct cfs_err err = CFS_ERR_INIT;
	uint64_t dir_ino, new_dir_ino;
	int r;

	if (flags & ~(CFS_FS_RENAME_NOREPLACE | CFS_FS_RENAME_EXCHANGE)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	v = to_change(req, parent, name, &dir_ino);
	if (v)
		to = to_change(req, new_parent, new_name, &new_dir_ino);
	if (!v || !to)
		return;
	if (v != to) {
		fuse_reply_err(req, EXDEV);
		return;
	}
	r = cfs_fs_rename(v->fs, dir_ino, name, strlen(name), new_dir_ino,
			  new_name, strlen(new_name), flags, &err);
	if (r < 0)
		mnt_note(v->m, "rename", &err);
	mnt_reply_err(req, r);
}

/* A file that was made without a name gets its first one. */
static int link_or_name(struct mnt_volume *v, uint64_t ino, uint64_t dir_ino,
			const char *name, struct cfs_inode *ret)
{
	const size_t n = strlen(name);
	uint64_t other;
	int r = cfs_fs_getattr(v->fs, ino, ret, NULL);

	if (r < 0)
		return r;
	if (ret->nlink > 0) {
		r = cfs_fs_link(v->fs, ino, dir_ino, name, n, NULL);
	} else {
		r = cfs_fs_lookup(v->fs, dir_ino, name, n, &other, NULL, NULL);
		r = r == 0 ? -EEXIST
		    : r != -ENOENT
			    ? r
			    : cfs_fs_name(v->fs, ino, dir_ino, name, n, NULL);
	}
	return r < 0 ? r : cfs_fs_getattr(v->fs, ino, ret, NULL);
}

void mnt_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t new_parent,
	      const char *new_name)
{
	UNCLOSED struct mnt_volume *v = NULL;
	UNCLOSED struct mnt_volume *from = NULL;
	struct cfs_inode inode;
	struct mnt_keep keep;
	uint64_t dir_ino, ino;
	int r;

	if (mnt_is_virtual(mnt_of(req), node)) {
		fuse_reply_err(req, EPERM);
		return;
	}
	v = to_change(req, new_parent, new_name, &dir_ino);
	if (!v)
		return;
	from = mnt_volume_of(mnt_of(req), node, &ino);
	if (from != v) {
		fuse_reply_err(req, EXDEV);
		return;
	}
	keep = mnt_cache_look(v);
	r = link_or_name(v, ino, dir_ino, new_name, &inode);
	if (r < 0)
		mnt_reply_err(req, r);
	else
		mnt_reply_entry(req, v, ino, &inode, &keep);
}

void mnt_readlink(fuse_req_t req, fuse_ino_t node)
{
	UNCLOSED struct mnt_volume *v = NULL;
	char target[CFS_SYMLINK_BYTES_MAX + 1];
	uint64_t ino;
	size_t n;
	int r;

	if (!mnt_is_virtual(mnt_of(req), node))
		v = mnt_volume_of(mnt_of(req), node, &ino);
	if (!v || !v->fs) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	r = cfs_fs_readlink(v->fs, ino, target, sizeof(target) - 1, &n, NULL);
	if (r < 0) {
		fuse_reply_err(req, r == -ENOENT ? ESTALE : mnt_errno(r));
		return;
	}
	target[n] = '\0';
	fuse_reply_readlink(req, target);
}
