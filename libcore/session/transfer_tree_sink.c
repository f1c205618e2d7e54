/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tree as the destination.  Small files, which most are, become one
 * operation with all that belongs to them.  Larger ones, and what replaces
 * something, have no name until they are complete: one that fails, or is cut
 * off by a crash, is not there.
 */
#include "session/transfer_priv.h"

#include "base/bits.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int tree_open_dir(void *arg, uint64_t parent, const char *name,
			 bool makes, uint64_t *ret, struct cfs_err *err)
{
	struct transfer_tree_sink *s = arg;
	struct cfs_inode inode;
	int r;

	r = cfs_fs_lookup(s->fs, parent, name, strlen(name), ret, &inode, err);
	if (r == -ENOENT && makes)
		return cfs_fs_mkdir(s->fs, parent, name, strlen(name), 0755,
				    s->uid, s->gid, ret, err);
	if (r < 0)
		return r;
	if (S_ISLNK(inode.mode))
		return cfs_err_set(err, -EXDEV,
				   "its path goes through the symbolic link "
				   "%s: left out",
				   name);
	if (!S_ISDIR(inode.mode))
		return cfs_err_set(err, -ENOTDIR,
				   "%s, on its path, is no directory", name);
	return 0;
}

int transfer_tree_sink_init(struct transfer_tree_sink *s, struct cfs_fs *fs,
			    uint64_t dir_ino, struct cfs_err *err)
{
	memset(s, 0, sizeof(*s));
	s->fs = fs;
	s->stack.open = tree_open_dir;
	s->stack.arg = s;
	s->stack.root = dir_ino;
	s->uid = geteuid();
	s->gid = getegid();
	s->buf = malloc(TRANSFER_BUF_BYTES);
	if (!s->buf)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

void transfer_tree_sink_done(struct transfer_tree_sink *s)
{
	transfer_stack_done(&s->stack);
	free(s->buf);
	s->buf = NULL;
}

/* Where an entry is to be made. */
struct place {
	uint64_t dir_ino;
	const char *name;
	size_t name_bytes;
};

static int find_place(struct transfer_tree_sink *s, const char *path,
		      bool makes, struct place *ret, struct cfs_err *err)
{
	size_t dir_bytes;

	ret->name = transfer_path_last(path, &dir_bytes);
	ret->name_bytes = strlen(ret->name);
	if (ret->name_bytes == 0)
		return cfs_err_set(err, -EISDIR,
				   "the destination is a directory");
	return transfer_stack_go(&s->stack, path, dir_bytes, makes,
				 &ret->dir_ino, err);
}

static void spec_of(const struct transfer_entry *e, struct cfs_fs_spec *spec)
{
	memset(spec, 0, sizeof(*spec));
	spec->mode = e->mode;
	spec->uid = e->uid;
	spec->gid = e->gid;
	spec->rdev = e->rdev;
	spec->has_times = e->has_mtime;
	spec->mtime_ns = e->mtime_ns;
	spec->atime_ns = e->has_atime ? e->atime_ns : e->mtime_ns;
	spec->target = e->target;
	spec->target_bytes = e->target_bytes;
	spec->xattrs = e->xattrs;
	spec->xattr_count = e->xattr_count;
}

static int set_attributes(struct transfer_tree_sink *s, uint64_t ino,
			  const struct transfer_entry *e, struct cfs_err *err)
{
	struct cfs_fs_attr attr = {
		.mask = CFS_FS_SET_MODE | CFS_FS_SET_UID | CFS_FS_SET_GID,
		.mode = e->mode & 07777,
		.uid = e->uid,
		.gid = e->gid,
		.mtime_ns = e->mtime_ns,
		.atime_ns = e->has_atime ? e->atime_ns : e->mtime_ns,
	};

	if (e->has_mtime)
		attr.mask |= CFS_FS_SET_MTIME | CFS_FS_SET_ATIME;
	return cfs_fs_setattr(s->fs, ino, &attr, NULL, err);
}

/* What is in the way of @e must not be a directory. */
static int check_replaces(struct transfer_tree_sink *s, const struct place *at,
			  struct cfs_err *err)
{
	struct cfs_inode inode;
	uint64_t ino;
	int r;

	r = cfs_fs_lookup(s->fs, at->dir_ino, at->name, at->name_bytes, &ino,
			  &inode, err);
	if (r == 0 && S_ISDIR(inode.mode))
		return cfs_err_set(err, -EISDIR, "a directory is in its place");
	return r;
}

/* Make an inode for @at that has no name yet, and is open. */
static int make_nameless(struct transfer_tree_sink *s, const struct place *at,
			 const struct cfs_fs_spec *spec, uint64_t *ret_ino,
			 struct cfs_err *err)
{
	int r = check_replaces(s, at, err);

	return r < 0 && r != -ENOENT
		       ? r
		       : cfs_fs_create_nameless(s->fs, at->dir_ino, spec,
						ret_ino, err);
}

/* It is complete (@r 0): give it its name.  It is not: let it go. */
static int settle(struct transfer_tree_sink *s, const struct place *at,
		  uint64_t ino, int r, struct cfs_err *err)
{
	if (r == 0)
		r = cfs_fs_name(s->fs, ino, at->dir_ino, at->name,
				at->name_bytes, err);
	/* Named it is; of one that is not the next open of the tree frees
	 * what could not be freed now. */
	(void)cfs_fs_close_ino(s->fs, ino, NULL);
	return r;
}

/* What is complete with @spec; over what is there, unless a directory. */
static int make_complete(struct transfer_tree_sink *s, const struct place *at,
			 const struct cfs_fs_spec *spec, struct cfs_err *err)
{
	uint64_t ino;
	int r;

	r = cfs_fs_create_with(s->fs, at->dir_ino, at->name, at->name_bytes,
			       spec, NULL, NULL, err);
	if (r != -EEXIST)
		return r;
	r = make_nameless(s, at, spec, &ino, err);
	return r < 0 ? r : settle(s, at, ino, 0, err);
}

static int sink_node(struct transfer *t, const struct transfer_entry *e,
		     struct cfs_err *err)
{
	struct transfer_tree_sink *s = t->sink_arg;
	struct cfs_fs_spec spec;
	struct place at;
	int r;

	r = find_place(s, e->path, true, &at, err);
	if (r < 0)
		return r;
	spec_of(e, &spec);
	return make_complete(s, &at, &spec, err);
}

/* A directory that is there takes the attributes of @e. */
static int take_directory(struct transfer_tree_sink *s, uint64_t ino,
			  const struct transfer_entry *e, struct cfs_err *err)
{
	size_t i;
	int r = 0;

	for (i = 0; i < e->xattr_count && r == 0; i++)
		r = cfs_fs_xattr_set(s->fs, ino, e->xattrs[i].name,
				     e->xattrs[i].value,
				     e->xattrs[i].value_bytes, 0, err);
	return r;
}

static int sink_directory(struct transfer *t, const struct transfer_entry *e,
			  struct cfs_err *err)
{
	struct transfer_tree_sink *s = t->sink_arg;
	struct cfs_fs_spec spec;
	struct cfs_inode inode;
	struct place at;
	uint64_t ino;
	int r;

	if (e->path[0] == '\0')
		return take_directory(s, s->stack.root, e, err);
	r = find_place(s, e->path, true, &at, err);
	if (r < 0)
		return r;
	spec_of(e, &spec);
	r = cfs_fs_create_with(s->fs, at.dir_ino, at.name, at.name_bytes, &spec,
			       &ino, NULL, err);
	if (r != -EEXIST)
		return r;
	r = cfs_fs_lookup(s->fs, at.dir_ino, at.name, at.name_bytes, &ino,
			  &inode, err);
	if (r == 0 && !S_ISDIR(inode.mode))
		r = cfs_err_set(err, -ENOTDIR,
				"in its place is something that is no "
				"directory");
	return r < 0 ? r : take_directory(s, ino, e, err);
}

static int sink_directory_end(struct transfer *t,
			      const struct transfer_entry *e,
			      struct cfs_err *err)
{
	struct transfer_tree_sink *s = t->sink_arg;
	uint64_t ino;
	int r;

	r = transfer_stack_go(&s->stack, e->path, strlen(e->path), false, &ino,
			      err);
	return r < 0 ? r : set_attributes(s, ino, e, err);
}

static int sink_link(struct transfer *t, const struct transfer_entry *e,
		     const char *first, struct cfs_err *err)
{
	struct transfer_tree_sink *s = t->sink_arg;
	struct place from, to;
	struct cfs_inode inode;
	uint64_t ino, old;
	int r;

	r = find_place(s, first, false, &from, err);
	if (r == 0)
		r = cfs_fs_lookup(s->fs, from.dir_ino, from.name,
				  from.name_bytes, &ino, &inode, err);
	if (r != 0)
		return cfs_err_wrap(err, r, "link to %s", first);
	if (S_ISDIR(inode.mode))
		return cfs_err_set(err, -EPERM, "link to %s: a directory",
				   first);
	r = find_place(s, e->path, true, &to, err);
	if (r < 0)
		return r;
	r = cfs_fs_link(s->fs, ino, to.dir_ino, to.name, to.name_bytes, err);
	if (r != -EEXIST)
		return r;
	r = cfs_fs_lookup(s->fs, to.dir_ino, to.name, to.name_bytes, &old,
			  &inode, err);
	if (r < 0 || old == ino)
		return r;
	r = check_replaces(s, &to, err);
	if (r == 0)
		r = cfs_fs_unlink(s->fs, to.dir_ino, to.name, to.name_bytes,
				  err);
	if (r == 0)
		r = cfs_fs_link(s->fs, ino, to.dir_ino, to.name, to.name_bytes,
				err);
	return r;
}

/* ---------------------------------------------------------------- files */

/* Pieces of a file put together to whole buffers. */
struct gather {
	struct transfer *t;
	struct transfer_reader *rd;
	uint8_t *buf;
	uint64_t offset_bytes; /* of buf */
	size_t bytes;          /* in buf */
	const uint8_t *rest;   /* of the last piece */
	size_t rest_bytes;
	uint64_t rest_offset;
	bool is_end;
	uint64_t end_bytes; /* where data ended so far */
};

static int gather_piece(struct gather *g, struct cfs_err *err)
{
	const void *p;
	int r;

	r = transfer_check_stop(g->t, err);
	if (r == 0)
		r = g->rd->next(g->rd, &p, &g->rest_bytes, &g->rest_offset,
				err);
	if (r != 0)
		return r;
	g->rest = p;
	g->is_end = g->rest_bytes == 0;
	if (g->is_end)
		return 0;
	if (!cfs_range_fits(g->rest_offset, g->rest_bytes,
			    CFS_FS_FILE_BYTES_MAX))
		return cfs_err_set(err, -EFBIG, "longer than a file can be");
	transfer_moved(g->t, g->rest_bytes);
	g->end_bytes = CFS_MAX(g->end_bytes, g->rest_offset + g->rest_bytes);
	return 0;
}

/* The next run of bytes without a hole; g->bytes is 0 at the end. */
static int gather_next(struct gather *g, struct cfs_err *err)
{
	size_t room = TRANSFER_BUF_BYTES, n;
	int r;

	g->bytes = 0;
	while (g->bytes < room) {

		if (g->rest_bytes == 0 && !g->is_end) {
			r = gather_piece(g, err);
			if (r < 0)
				return r;
		}
		if (g->rest_bytes == 0)
			break;
		if (g->bytes && g->offset_bytes + g->bytes != g->rest_offset)
			break;
		if (g->bytes == 0) {
			g->offset_bytes = g->rest_offset;
			/* So that what follows a hole is whole blocks. */
			room -= g->offset_bytes % TRANSFER_BUF_BYTES;
		}
		n = CFS_MIN(g->rest_bytes, room - g->bytes);
		memcpy(g->buf + g->bytes, g->rest, n);
		g->bytes += n;
		g->rest += n;
		g->rest_bytes -= n;
		g->rest_offset += n;
	}
	return 0;
}

/* Write a buffer; with is_sparse blocks of zeroes are left out. */
static int write_buf(struct transfer_tree_sink *s, uint64_t ino,
		     const struct gather *g, struct cfs_err *err)
{
	size_t at = 0, end, n;
	int r = 0;

	if (!g->t->opt->is_sparse)
		return cfs_fs_write(s->fs, ino, g->offset_bytes, g->buf,
				    g->bytes, NULL, err);
	while (at < g->bytes && r == 0) {
		for (end = at; end < g->bytes; end += n) {
			n = CFS_MIN(g->bytes - end,
				    CFS_BLOCK_BYTES - (g->offset_bytes + end) %
							      CFS_BLOCK_BYTES);
			if (transfer_is_zero(g->buf + end, n))
				break;
		}
		if (end > at)
			r = cfs_fs_write(s->fs, ino, g->offset_bytes + at,
					 g->buf + at, end - at, NULL, err);
		at = end < g->bytes ? end + n : end;
	}
	return r;
}

static bool is_first_sparse(const struct gather *g)
{
	return g->t->opt->is_sparse && g->bytes >= CFS_BLOCK_BYTES;
}

/* The rest of a file whose beginning is made, and its size and attributes. */
static int write_rest(struct transfer_tree_sink *s, uint64_t ino,
		      const struct transfer_entry *e, struct gather *g,
		      bool has_first, struct cfs_err *err)
{
	uint64_t size_bytes;
	int r = 0;

	if (has_first)
		r = gather_next(g, err);
	while (r == 0 && g->bytes) {
		r = write_buf(s, ino, g, err);
		if (r == 0)
			r = gather_next(g, err);
	}
	size_bytes = e->has_size ? CFS_MAX(e->size_bytes, g->end_bytes)
				 : g->end_bytes;
	if (r == 0)
		r = cfs_fs_truncate(s->fs, ino, size_bytes, err);
	/* Writing has changed the times, and may have taken rights away. */
	return r < 0 ? r : set_attributes(s, ino, e, err);
}

static int bulk_file(struct transfer *t, const struct transfer_entry *e,
		     struct transfer_reader *rd, const struct place *at,
		     struct cfs_err *err)
{
	struct transfer_tree_sink *s = t->sink_arg;
	struct cfs_bytes_end to = {
		.kind = CFS_BYTES_FILE,
		.fs = s->fs,
		.is_fresh = true,
		.has_no_sync = true,
	};
	struct cfs_fs_spec spec;
	int r;

	spec_of(e, &spec);
	r = make_nameless(s, at, &spec, &to.ino, err);
	if (r < 0)
		return r;
	r = transfer_bulk(t, e, rd, &to, err);
	if (r == 0)
		r = set_attributes(s, to.ino, e, err);
	return settle(s, at, to.ino, r, err);
}

/* Is all of the file in the first buffer, or is it empty? */
static bool is_complete(const struct transfer_entry *e, const struct gather *g,
			bool has_first)
{
	return g->is_end && (has_first || g->bytes == 0) &&
	       !(e->has_size && e->size_bytes > g->end_bytes);
}

static int sink_file(struct transfer *t, const struct transfer_entry *e,
		     struct transfer_reader *rd, struct cfs_err *err)
{
	struct transfer_tree_sink *s = t->sink_arg;
	struct gather g = { .t = t, .rd = rd, .buf = s->buf };
	struct cfs_fs_spec spec;
	bool has_first;
	struct place at;
	uint64_t ino;
	int r;

	if (e->has_size && e->size_bytes > CFS_FS_FILE_BYTES_MAX)
		return cfs_err_set(err, -EFBIG, "longer than a file can be");
	r = find_place(s, e->path, true, &at, err);
	if (r == 0 && transfer_is_bulk(e, rd))
		return bulk_file(t, e, rd, &at, err);
	if (r == 0)
		r = gather_next(&g, err);
	if (r < 0)
		return r;
	spec_of(e, &spec);
	has_first = g.bytes && g.offset_bytes == 0 && !is_first_sparse(&g);
	if (has_first) {
		spec.data = g.buf;
		spec.data_bytes = g.bytes;
	}
	if (has_first && g.rest_bytes == 0 && !g.is_end)
		r = gather_piece(&g, err);
	if (r < 0)
		return r;
	if (is_complete(e, &g, has_first))
		return make_complete(s, &at, &spec, err);
	r = make_nameless(s, &at, &spec, &ino, err);
	if (r < 0)
		return r;
	r = write_rest(s, ino, e, &g, has_first, err);
	return settle(s, &at, ino, r, err);
}

/* The data of a file that came with a later name of it (cpio). */
static int sink_refill(struct transfer *t, const struct transfer_entry *e,
		       struct transfer_reader *rd, struct cfs_err *err)
{
	struct transfer_tree_sink *s = t->sink_arg;
	struct gather g = { .t = t, .rd = rd, .buf = s->buf };
	struct cfs_inode inode;
	struct place at;
	uint64_t ino = 0;
	int r;

	r = find_place(s, e->path, true, &at, err);
	if (r == 0)
		r = cfs_fs_lookup(s->fs, at.dir_ino, at.name, at.name_bytes,
				  &ino, &inode, err);
	if (r == 0 && !S_ISREG(inode.mode))
		r = cfs_err_set(err, -EILSEQ, "data for what is no file");
	if (r == 0)
		r = gather_next(&g, err);
	return r < 0 ? r : write_rest(s, ino, e, &g, false, err);
}

const struct transfer_sink transfer_tree_sink = {
	.directory = sink_directory,
	.directory_end = sink_directory_end,
	.file = sink_file,
	.node = sink_node,
	.link = sink_link,
	.refill = sink_refill,
};
