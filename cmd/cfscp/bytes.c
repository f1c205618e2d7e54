/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One source of bytes to one destination: LUNs, files of trees, files and
 * devices of the host, standard input and output.  New files appear when they
 * are complete; a LUN or a device is written in place, so a copy into one that
 * breaks off says how far it came.
 */
#include "cfscp/cfscp.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "common/progress.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct copy {
	struct cp *cp;
	struct cp_operand *src, *dst;
	struct cfs_bytes_end from, to;
	uint64_t length_bytes; /* UINT64_MAX: all */
	uint64_t capacity_bytes;
	struct cp_place place;
	struct cp_host_file file;
	bool has_inode;     /* in a tree, to.ino */
	int src_fd, dst_fd; /* to be closed */
};

static int fail(struct copy *c, const struct cp_operand *op, int code)
{
	return cfs_cmd_wrap(c->cp->cmd, op->text, code);
}

/* -------------------------------------------------------------- source */

static int open_host_source(struct copy *c)
{
	struct cfs_err *err = &c->cp->cmd->err;
	struct stat st;

	c->from.fd = c->src_fd = open(c->src->path,
				      O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (c->src_fd < 0 || fstat(c->src_fd, &st) < 0)
		return cfs_err_errno(err, -errno, "%s", c->src->text);
	if (S_ISDIR(st.st_mode))
		return cfs_err_errno(err, -EISDIR, "%s", c->src->text);
	return 0;
}

static int open_source(struct copy *c)
{
	struct cp *cp = c->cp;
	int r;

	switch (c->src->kind) {
	case CP_LUN:
		c->from.kind = CFS_BYTES_LUN;
		c->from.lun = c->src->io;
		c->from.offset_bytes = cfs_cmd_u64(cp->cmd, "offset", 0);
		return 0;
	case CP_TREE:
		c->from.kind = CFS_BYTES_FILE;
		c->from.fs = cfs_io_fs(c->src->io);
		r = cfs_fs_resolve(c->from.fs, cfs_fs_root_ino(c->from.fs),
				   c->src->path, strlen(c->src->path),
				   CFS_FS_FOLLOW_ALL, &c->from.ino,
				   &cp->cmd->err);
		return r < 0 ? fail(c, c->src, r) : 0;
	case CP_STDIO:
		c->from.kind = CFS_BYTES_FD;
		c->from.fd = STDIN_FILENO;
		return 0;
	case CP_HOST:
	default:
		c->from.kind = CFS_BYTES_FD;
		return open_host_source(c);
	}
}

/* --------------------------------------------------------- destination */

static int open_lun(struct copy *c)
{
	uint64_t size_bytes = cfs_io_size_bytes(c->dst->io);
	uint64_t offset_bytes = cfs_cmd_u64(c->cp->cmd, "offset", 0);

	if (offset_bytes > size_bytes)
		return cfs_err_set(&c->cp->cmd->err, -EFBIG,
				   "%s: offset %llu is behind its end at %llu",
				   c->dst->text,
				   (unsigned long long)offset_bytes,
				   (unsigned long long)size_bytes);
	if (c->src->kind == CP_LUN && c->src->io == c->dst->io)
		return cfs_err_set(&c->cp->cmd->err, -EEXIST,
				   "%s: source and destination are the same",
				   c->dst->text);
	c->to.kind = CFS_BYTES_LUN;
	c->to.lun = c->dst->io;
	c->to.offset_bytes = offset_bytes;
	c->capacity_bytes = size_bytes - offset_bytes;
	return 0;
}

/* A device or fifo takes the bytes in place. */
static int open_special(struct copy *c)
{
	struct cfs_err *err = &c->cp->cmd->err;
	int r;

	c->dst_fd = openat(c->place.dir_fd, c->place.name,
			   O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (c->dst_fd < 0)
		return cfs_err_errno(err, -errno, "%s", c->dst->text);
	c->to.fd = c->dst_fd;
	r = cfs_bytes_length(&c->to, &c->capacity_bytes, err);
	return r < 0 ? fail(c, c->dst, r) : 0;
}

static int open_host(struct copy *c, const char *base, bool must_be_directory)
{
	struct cp *cp = c->cp;
	int r;

	c->to.kind = CFS_BYTES_FD;
	r = cp_place_host(cp, c->dst, base, must_be_directory, &c->place);
	if (r == 0)
		r = cp_place_check_file(cp, c->dst, &c->place);
	if (r < 0 || cp->cmd->is_dry_run)
		return r;
	if (c->place.is_special)
		return open_special(c);
	r = cp_host_file_open(&c->file, &c->place, &cp->cmd->err);
	c->to.fd = c->file.fd;
	c->to.is_fresh = true;
	return r < 0 ? fail(c, c->dst, r) : 0;
}

static int open_tree(struct copy *c, const char *base, bool must_be_directory)
{
	struct cp *cp = c->cp;
	struct cfs_fs *fs = cfs_io_fs(c->dst->io);
	struct cfs_fs_spec spec = { .data = NULL };
	mode_t mask = umask(0);
	uint32_t mode = 0666;
	int r;

	(void)umask(mask);
	c->to.kind = CFS_BYTES_FILE;
	c->to.fs = fs;
	c->to.is_fresh = true;
	r = cp_place_tree(cp, c->dst, base, must_be_directory, &c->place);
	if (r == 0)
		r = cp_place_check_file(cp, c->dst, &c->place);
	if (r < 0 || cp->cmd->is_dry_run)
		return r;
	mode = c->place.is_there && S_ISREG(c->place.mode)
		       ? c->place.mode & 07777
		       : mode & ~(uint32_t)mask;
	spec.mode = S_IFREG | mode;
	spec.uid = c->place.is_there ? c->place.uid : geteuid();
	spec.gid = c->place.is_there ? c->place.gid : getegid();
	r = cfs_fs_create_nameless(fs, c->place.dir_ino, &spec, &c->to.ino,
				   &cp->cmd->err);
	c->has_inode = r == 0;
	return r < 0 ? fail(c, c->dst, r) : 0;
}

static int open_destination(struct copy *c, bool must_be_directory)
{
	CFS_CLEANUP(cfs_freep) char *base = NULL;

	if (c->dst->kind == CP_LUN)
		return open_lun(c);
	if (c->dst->kind == CP_STDIO) {
		c->to.kind = CFS_BYTES_SINK;
		c->to.write = cfs_cmd_write;
		c->to.write_arg = c->cp->cmd;
		return 0;
	}
	base = c->src->kind == CP_STDIO ? strdup("") : cp_operand_base(c->src);
	if (!base)
		return cfs_err_set(&c->cp->cmd->err, -ENOMEM, "out of memory");
	return c->dst->kind == CP_HOST ? open_host(c, base, must_be_directory)
				       : open_tree(c, base, must_be_directory);
}

/* Complete, or not: the new file gets its name, or goes away. */
static int close_destination(struct copy *c, int r)
{
	struct cfs_err *err = &c->cp->cmd->err;

	if (c->file.place)
		r = cp_host_file_close(&c->file, r, err);
	if (!c->has_inode)
		return r;
	if (r == 0) {
		r = cfs_fs_name(c->to.fs, c->to.ino, c->place.dir_ino,
				c->place.name, strlen(c->place.name), err);
		r = r < 0 ? fail(c, c->dst, r) : 0;
	}
	/* Without a name it goes with this. */
	(void)cfs_fs_close_ino(c->to.fs, c->to.ino, NULL);
	return r;
}

/* ---------------------------------------------------------------- copy */

static bool is_in_place(const struct copy *c)
{
	return c->dst->kind == CP_LUN || c->place.is_special;
}

/* Which of both it was, and how far it came. */
static int explain(struct copy *c, const struct cfs_bytes_result *ret, int r)
{
	struct cfs_err *err = &c->cp->cmd->err;
	const char *object = c->src->text;
	struct cfs_err why = *err;
	unsigned long long copied = ret->copied_bytes;

	if (!ret->is_source && r != -EFBIG)
		object = c->dst->kind == CP_STDIO ? NULL : c->dst->text;
	if (c->src->kind == CP_STDIO && object == c->src->text)
		object = "standard input";
	if (is_in_place(c) && copied)
		(void)cfs_err_set(
			err, r,
			"%s: the first %llu bytes were "
			"copied, up to offset %llu of %s",
			why.msg, copied,
			(unsigned long long)(c->to.offset_bytes + copied),
			c->dst->text);
	else if (is_in_place(c))
		(void)cfs_err_set(err, r, "%s: nothing was copied", why.msg);
	if (ret->is_source)
		cp_hint_damage(c->cp, err);
	return object ? cfs_cmd_wrap(c->cp->cmd, object, r) : r;
}

static int check_length(struct copy *c, uint64_t *ret)
{
	struct cfs_err *err = &c->cp->cmd->err;
	int r = cfs_bytes_length(&c->from, ret, err);

	if (r < 0)
		return fail(c, c->src, r);
	if (c->from.offset_bytes && *ret == 0 &&
	    c->from.offset_bytes > cfs_io_size_bytes(c->src->io))
		return cfs_err_set(
			err, -EINVAL, "%s: offset %llu is behind its end",
			c->src->text, (unsigned long long)c->from.offset_bytes);
	*ret = CFS_MIN(*ret, c->length_bytes);
	if (*ret != UINT64_MAX && *ret > c->capacity_bytes)
		return cfs_err_set(err, -EFBIG,
				   "%s: %llu bytes, but %s has room for %llu: "
				   "nothing was copied",
				   c->src->text, (unsigned long long)*ret,
				   c->dst->text,
				   (unsigned long long)c->capacity_bytes);
	return 0;
}

static int move(struct copy *c, uint64_t length_bytes,
		struct cfs_bytes_result *ret)
{
	struct cfs_transfer_options opt = cp_options(c->cp);
	struct cfs_progress *progress;
	int r;

	progress = cfs_progress_begin(
		c->cp->cmd, "copy", "bytes",
		length_bytes == UINT64_MAX ? 0 : length_bytes);
	r = cfs_bytes_copy(&c->from, &c->to, c->length_bytes, c->capacity_bytes,
			   &opt, ret, &c->cp->cmd->err);
	cfs_progress_end(progress);
	return r < 0 ? explain(c, ret, r) : 0;
}

static int copy(struct copy *c, bool must_be_directory)
{
	struct cp_outcome outcome = { .source = c->src, .is_bytes = true };
	struct cp *cp = c->cp;
	uint64_t length_bytes;
	int r;

	r = open_source(c);
	if (r == 0)
		r = open_destination(c, must_be_directory);
	if (r == 0)
		r = check_length(c, &length_bytes);
	if (r == 0 && cp->cmd->is_dry_run)
		outcome.bytes.copied_bytes = length_bytes == UINT64_MAX
						     ? 0
						     : length_bytes;
	else if (r == 0)
		r = move(c, length_bytes, &outcome.bytes);
	r = close_destination(c, r);
	return r < 0 ? r : cp_add_outcome(cp, &outcome);
}

int cp_copy_bytes(struct cp *cp, struct cp_operand *src, struct cp_operand *dst,
		  bool must_be_directory)
{
	struct copy c = {
		.cp = cp,
		.src = src,
		.dst = dst,
		.length_bytes = cfs_cmd_u64(cp->cmd, "length", UINT64_MAX),
		.capacity_bytes = UINT64_MAX,
		.place = { .dir_fd = -1 },
		.src_fd = -1,
		.dst_fd = -1,
	};
	int r;

	cp->source = src;
	cp->prefix = "";
	r = copy(&c, must_be_directory);
	cp_place_donep(&c.place);
	if (c.src_fd >= 0)
		close(c.src_fd);
	if (c.dst_fd >= 0 && close(c.dst_fd) < 0 && r == 0)
		r = cfs_err_errno(&cp->cmd->err, -errno, "%s", dst->text);
	return r;
}
