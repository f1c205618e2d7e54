/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading directories.  Where a reader is stands in the cookies of the tree,
 * which stay good whatever is made or removed meanwhile (volume/fs.h); here
 * they are shifted by one for the entry .snapshots behind "." and "..".
 */
#include "cfsmount/cfsmount.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define BATCH    64u /* entries asked for at a time */
#define UNCLOSED __attribute__((cleanup(put_volume)))

static void put_volume(struct mnt_volume **v)
{
	mnt_volume_put(*v);
}

void mnt_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	UNCLOSED struct mnt_volume *v = NULL;
	struct mnt *m = mnt_of(req);
	struct mnt_file *f = NULL;
	uint64_t ino;
	int r;

	if (mnt_is_virtual(m, node)) {
		f = calloc(1, sizeof(*f));
		r = f ? mnt_virtual_list(m, node, &f->names, &f->name_count)
		      : -ENOMEM;
	} else {
		v = mnt_volume_of(m, node, &ino);
		r = !v ? -ENOENT : !v->fs ? -ENOTDIR : mnt_file_new(v, ino, &f);
	}
	if (r < 0) {
		if (f)
			free(f->names);
		free(f);
		fuse_reply_err(req, r == -ENOENT || r == -ESTALE
					    ? ESTALE
					    : mnt_errno(r));
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)f;
	if (fuse_reply_open(req, fi) < 0 && f->v)
		mnt_file_free(f);
}

void mnt_releasedir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct mnt_file *f = mnt_file_of(fi);

	(void)node;
	if (f->v) {
		mnt_file_free(f);
	} else {
		free(f->names);
		free(f);
	}
	fuse_reply_err(req, 0);
}

/* ---- virtual ------------------------------------------------------------- */

static void read_virtual(fuse_req_t req, fuse_ino_t node, size_t size,
			 size_t at, struct mnt_file *f, bool is_plus)
{
	CFS_CLEANUP(cfs_freep) char *buf = malloc(size);
	size_t used = 0, n;

	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (; at < f->name_count + 2; at++) {
		const struct mnt_name *e = at < 2 ? NULL : &f->names[at - 2];
		const char *name = e ? e->name : at ? ".." : ".";
		const struct fuse_entry_param p = {
			.attr = {
				.st_ino = e ? e->node : node,
				.st_mode = (mode_t)((e ? e->type : DT_DIR)
						    << 12),
			},
		};

		n = is_plus ? fuse_add_direntry_plus(req, buf + used,
						     size - used, name, &p,
						     (off_t)at + 1)
			    : fuse_add_direntry(req, buf + used, size - used,
						name, &p.attr, (off_t)at + 1);
		if (n > size - used)
			break;
		used += n;
	}
	fuse_reply_buf(req, buf, used);
}

/* ---- trees --------------------------------------------------------------- */

/* Our cookies: 0, 1 (behind "."), 2 (behind ".."), 3 (behind .snapshots), and
 * the tree's, which follow. */
static uint64_t cookie_out(uint64_t cookie)
{
	return cookie <= 2 ? cookie : cookie + 1;
}

static uint64_t cookie_in(uint64_t cookie)
{
	return cookie <= 2 ? cookie : cookie - 1;
}

struct filling {
	fuse_req_t req;
	struct mnt_file *f;
	char *buf;
	size_t size, used;
	bool is_plus;
	struct mnt_keep keep;
	double seconds;
};

/* False: there is no room. */
static bool add_entry(struct filling *fill, const struct cfs_fs_entry *e)
{
	struct mnt_volume *v = fill->f->v;
	char *at = fill->buf + fill->used;
	size_t left = fill->size - fill->used, n;
	struct fuse_entry_param p = { .ino = 0 };
	struct cfs_inode inode;
	const bool is_dot = e->name[0] == '.' &&
			    (!e->name[1] || (e->name[1] == '.' && !e->name[2]));

	p.attr.st_ino = (uint64_t)v->slot << MNT_SLOT_SHIFT | e->ino;
	p.attr.st_mode = (mode_t)(e->type << 12);
	if (!fill->is_plus) {
		n = fuse_add_direntry(fill->req, at, left, e->name, &p.attr,
				      (off_t)cookie_out(e->next_cookie));
		fill->used += n <= left ? n : 0;
		return n <= left;
	}
	n = fuse_add_direntry_plus(fill->req, NULL, 0, e->name, &p, 0);
	if (n > left)
		return false;
	/* What has gone in the meantime is a name without attributes. */
	if (!is_dot && cfs_fs_getattr(v->fs, e->ino, &inode, NULL) == 0) {
		mnt_fill_entry(v, e->ino, &inode, &p);
		p.attr_timeout = fill->seconds;
		p.entry_timeout = fill->seconds;
		mnt_volume_known(v, e->ino);
	}
	fill->used += fuse_add_direntry_plus(fill->req, at, left, e->name, &p,
					     (off_t)cookie_out(e->next_cookie));
	return true;
}

static bool add_snapshots(struct filling *fill)
{
	struct mnt_volume *v = fill->f->v;
	struct cfs_fs_entry e = {
		.ino = mnt_virtual_snapshots(v),
		.next_cookie = 3,
		.type = DT_DIR,
		.name = MNT_SNAPSHOTS,
	};
	struct fuse_entry_param p = {
		.attr = { .st_ino = e.ino, .st_mode = S_IFDIR },
	};
	size_t left = fill->size - fill->used, n;
	char *at = fill->buf + fill->used;

	n = fill->is_plus
		    ? fuse_add_direntry_plus(fill->req, at, left, e.name, &p, 3)
		    : fuse_add_direntry(fill->req, at, left, e.name, &p.attr,
					3);
	fill->used += n <= left ? n : 0;
	return n <= left;
}

static int next_batch(struct mnt_file *f)
{
	int r;

	f->next = 0;
	f->count = 0;
	if (!f->entries) {
		f->entries = malloc(BATCH * sizeof(*f->entries));
		if (!f->entries)
			return -ENOMEM;
	}
	r = cfs_fs_readdir(f->v->fs, f->ino, f->cookie, f->entries, BATCH,
			   &f->count, NULL);
	return r;
}

static bool lists_snapshots(const struct mnt_file *f)
{
	return f->v->m->opt.snapdir == MNT_SNAPDIR_VISIBLE && !f->v->snap &&
	       f->ino == f->v->root_ino;
}

/* From where the reader is; entries that did not fit are kept for next time,
 * unless it has gone elsewhere. */
static int fill_tree(struct filling *fill, uint64_t cookie)
{
	struct mnt_file *f = fill->f;
	uint64_t at = cookie_in(cookie);
	const struct cfs_fs_entry *e;
	bool shows = lists_snapshots(f) && cookie <= 2;
	int r = 0;

	if (cookie == 3)
		at = 2;
	if (f->cookie != at || f->next == f->count) {
		f->cookie = at;
		f->next = f->count = 0;
	}
	for (;;) {
		if (shows && at == 2) {
			if (!add_snapshots(fill))
				return 0;
			shows = false;
		}
		if (f->next == f->count)
			r = next_batch(f);
		if (r < 0 || f->count == 0)
			return r;
		e = &f->entries[f->next];
		/* One that ".snapshots" hides. */
		if (f->v->snap || f->ino != f->v->root_ino ||
		    f->v->m->opt.snapdir == MNT_SNAPDIR_OFF ||
		    strcmp(e->name, MNT_SNAPSHOTS) != 0) {
			if (!add_entry(fill, e))
				return 0;
		}
		f->next++;
		at = e->next_cookie;
		f->cookie = at;
	}
}

static void read_dir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
		     struct fuse_file_info *fi, bool is_plus)
{
	struct mnt_file *f = mnt_file_of(fi);
	CFS_CLEANUP(cfs_freep) char *buf = NULL;
	struct mnt *m = mnt_of(req);
	struct filling fill = {
		.req = req,
		.f = f,
		.size = size,
		.is_plus = is_plus,
	};
	int r;

	if (!f->v) {
		read_virtual(req, node, size, (size_t)off, f, is_plus);
		return;
	}
	buf = malloc(size);
	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fill.buf = buf;
	fill.keep = mnt_cache_look(f->v);
	pthread_mutex_lock(&f->lock);
	/* How long is not known before all is read: so it is asked twice. */
	fill.seconds = mnt_cache_enter(f->v, &fill.keep);
	mnt_cache_leave(m);
	r = fill_tree(&fill, (uint64_t)off);
	pthread_mutex_unlock(&f->lock);
	if (r < 0 && !fill.used) {
		fuse_reply_err(req, mnt_errno(r));
		return;
	}
	if (is_plus && fill.seconds > 0 &&
	    mnt_cache_enter(f->v, &fill.keep) <= 0) {
		mnt_cache_leave(m);
		mnt_plus_forget(buf, fill.used);
		fuse_reply_buf(req, buf, fill.used);
		return;
	}
	if (!is_plus || fill.seconds <= 0)
		(void)mnt_cache_enter(f->v, &fill.keep);
	fuse_reply_buf(req, buf, fill.used);
	mnt_cache_leave(m);
}

void mnt_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
		 struct fuse_file_info *fi)
{
	read_dir(req, node, size, off, fi, false);
}

void mnt_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	read_dir(req, node, size, off, fi, true);
}
