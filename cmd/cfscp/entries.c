/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Copies of what has a name, rights and times, by the rules of cp -a: between
 * trees and the host, and from tree to tree.  A copy that fails as a whole
 * takes away what it has made, if nothing was there before.
 */
#include "cfscp/cfscp.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "common/progress.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct copy {
	struct cp *cp;
	struct cp_operand *src, *dst;
	struct cp_place place;
	bool is_directory;    /* the source is one */
	uint64_t total_bytes; /* of a file; 0: not known */
	/* A source of the host: what it is called in a directory. */
	int src_dir_fd;
	char *src_name;
	/* In a tree. */
	struct cfs_fs *src_fs;
	uint64_t src_ino;
};

static int out_of_memory(struct copy *c)
{
	return cfs_err_set(&c->cp->cmd->err, -ENOMEM, "out of memory");
}

static int host_error(struct copy *c, int code)
{
	return cfs_err_errno(&c->cp->cmd->err, code, "%s", c->src->text);
}

/* "dir/" and "dir/." are the directory; "dir" is a name in another. */
static int open_host_source(struct copy *c)
{
	const char *path = c->src->path, *slash = strrchr(path, '/');
	CFS_CLEANUP(cfs_freep) char *base = cp_base_name(path);
	CFS_CLEANUP(cfs_freep) char *dir = NULL;
	struct stat st;

	if (!base)
		return out_of_memory(c);
	if (!base[0] || (slash && !slash[1])) {
		dir = strdup(path);
		c->src_name = strdup(".");
	} else {
		dir = slash ? strndup(path, (size_t)(slash - path) + 1)
			    : strdup(".");
		c->src_name = CFS_STEAL(base);
	}
	if (!dir || !c->src_name)
		return out_of_memory(c);
	c->src_dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->src_dir_fd < 0 ||
	    fstatat(c->src_dir_fd, c->src_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return host_error(c, -errno);
	c->is_directory = S_ISDIR(st.st_mode);
	c->total_bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	return 0;
}

static int open_tree_source(struct copy *c)
{
	size_t n = strlen(c->src->path);
	bool is_slashed = n && c->src->path[n - 1] == '/';
	struct cfs_err *err = &c->cp->cmd->err;
	struct cfs_inode inode;
	int r;

	c->src_fs = cfs_io_fs(c->src->io);
	r = cfs_fs_resolve(
		c->src_fs, cfs_fs_root_ino(c->src_fs), c->src->path, n,
		is_slashed ? CFS_FS_FOLLOW_ALL : CFS_FS_FOLLOW_MIDDLE,
		&c->src_ino, err);
	if (r == 0)
		r = cfs_fs_getattr(c->src_fs, c->src_ino, &inode, err);
	if (r != 0)
		return cfs_cmd_wrap(c->cp->cmd, c->src->text, r);
	c->is_directory = S_ISDIR(inode.mode);
	c->total_bytes = S_ISREG(inode.mode) ? inode.size_bytes : 0;
	return 0;
}

/* ---------------------------------------------------------- into itself */

#define CLIMB_MAX CFS_FS_DEPTH_MAX

/* Whether @dir_ino is @ino or below it. */
static int is_below(struct cfs_fs *fs, uint64_t dir_ino, uint64_t ino,
		    struct cfs_err *err)
{
	uint64_t up;
	unsigned int i;
	int r;

	for (i = 0; i < CLIMB_MAX; i++) {
		if (dir_ino == ino)
			return 1;
		r = cfs_fs_lookup(fs, dir_ino, "..", 2, &up, NULL, err);
		if (r < 0)
			return r;
		if (up == dir_ino)
			return 0;
		dir_ino = up;
	}
	return cfs_err_set(err, -ELOOP, "directories too deep");
}

static int check_itself(struct copy *c)
{
	struct cfs_err *err = &c->cp->cmd->err;
	int r;

	if (c->src->kind != CP_TREE || c->dst->kind != CP_TREE ||
	    c->src->io != c->dst->io)
		return 0;
	if (!c->is_directory)
		return c->place.is_there && c->place.ino == c->src_ino
			       ? cfs_err_set(err, -EEXIST,
					     "%s and %s are the "
					     "same file",
					     c->src->text, c->dst->text)
			       : 0;
	r = is_below(c->src_fs, c->place.dir_ino, c->src_ino, err);
	if (r == 0 && c->place.is_there && c->place.ino == c->src_ino)
		r = 1;
	if (r > 0)
		return cfs_err_set(err, -EEXIST,
				   "%s: cannot be copied into itself, %s",
				   c->src->text, c->dst->text);
	return r < 0 ? cfs_cmd_wrap(c->cp->cmd, c->dst->text, r) : 0;
}

/* ----------------------------------------------------------------- copy */

static int move(struct copy *c, struct cfs_transfer_result *ret)
{
	struct cfs_transfer_options opt = cp_options(c->cp);
	struct cfs_err *err = &c->cp->cmd->err;
	const char *name = c->place.name;

	opt.total_bytes = c->total_bytes;
	if (c->dst->kind == CP_HOST)
		return cfs_export_path(c->src_fs, c->src_ino, c->place.dir_fd,
				       name, !c->is_directory, &opt, ret, err);
	if (c->src->kind == CP_HOST)
		return cfs_import_path(cfs_io_fs(c->dst->io), c->place.dir_ino,
				       name, c->src_dir_fd, c->src_name, &opt,
				       ret, err);
	return cfs_transfer_tree(cfs_io_fs(c->dst->io), c->place.dir_ino, name,
				 c->src_fs, c->src_ino, &opt, ret, err);
}

/* It ended before all was copied: take back what was made. */
static void take_back(struct copy *c, const struct cfs_transfer_result *ret)
{
	struct cfs_err *err = &c->cp->cmd->err, why = *err;
	int r = -EEXIST;

	if (c->cp->cmd->is_dry_run)
		return;
	if (!c->place.is_there && c->place.name[0])
		r = c->dst->kind == CP_HOST
			    ? cfs_export_remove(c->place.dir_fd, c->place.name,
						err)
			    : cfs_transfer_remove(
				      cfs_io_fs(c->dst->io), c->place.dir_ino,
				      c->place.name, strlen(c->place.name),
				      true, NULL, NULL, err);
	*err = why;
	if (r < 0 && r != -ENOENT && ret->entries)
		(void)cfs_err_set(err, why.code, "%s: %llu %s", why.msg,
				  (unsigned long long)ret->entries,
				  cfs_plural(ret->entries,
					     "entry was copied before and "
					     "stays",
					     "entries were copied before and "
					     "stay"));
}

/* What ends a copy is mostly that there is no more room where it goes. */
static bool is_of_destination(int code)
{
	return code == -ENOSPC || code == -EDQUOT || code == -EROFS;
}

static int copy(struct copy *c, bool must_be_directory)
{
	CFS_CLEANUP(cfs_freep) char *base = cp_operand_base(c->src);
	struct cp_outcome outcome = { .source = c->src };
	struct cfs_progress *progress;
	struct cp *cp = c->cp;
	int r;

	if (!base)
		return out_of_memory(c);
	r = c->src->kind == CP_HOST ? open_host_source(c) : open_tree_source(c);
	if (r == 0)
		r = c->dst->kind == CP_HOST
			    ? cp_place_host(cp, c->dst, base, must_be_directory,
					    &c->place)
			    : cp_place_tree(cp, c->dst, base, must_be_directory,
					    &c->place);
	if (r == 0 && !c->is_directory)
		r = cp_place_check_file(cp, c->dst, &c->place);
	if (r == 0)
		r = check_itself(c);
	if (r < 0)
		return r;
	cp->prefix = c->place.name;
	progress = cfs_progress_begin(cp->cmd, "copy", "bytes", c->total_bytes);
	r = move(c, &outcome.entries);
	cfs_progress_end(progress);
	if (r < 0) {
		take_back(c, &outcome.entries);
		r = cfs_cmd_wrap(
			cp->cmd,
			is_of_destination(r) ? c->dst->text : c->src->text, r);
	}
	cp->prefix = "";
	return r < 0 ? r : cp_add_outcome(cp, &outcome);
}

int cp_copy_entries(struct cp *cp, struct cp_operand *src,
		    struct cp_operand *dst, bool must_be_directory)
{
	struct copy c = {
		.cp = cp,
		.src = src,
		.dst = dst,
		.src_dir_fd = -1,
		.place = { .dir_fd = -1 },
	};
	int r;

	cp->source = src;
	r = copy(&c, must_be_directory);
	cp_place_donep(&c.place);
	free(c.src_name);
	if (c.src_dir_fd >= 0)
		close(c.src_dir_fd);
	return r;
}
