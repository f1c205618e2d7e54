/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cfscp --archive and --extract: trees as archives. */
#include "cfscp/cfscp.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "common/progress.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int need_tree(struct cp *cp, const struct cp_operand *op)
{
	if (op->kind == CP_TREE)
		return 0;
	return cfs_err_set(&cp->cmd->err, -ENOTDIR,
			   "%s: a LUN, not a tree of files", op->text);
}

/* -------------------------------------------------------------- archive */

struct file_writer {
	int fd;
};

static int write_file(void *arg, const void *bytes, size_t length_bytes,
		      struct cfs_err *err)
{
	const struct file_writer *w = arg;
	const char *p = bytes;

	while (length_bytes) {
		ssize_t n = write(w->fd, p, length_bytes);

		if (n < 0 && errno == EINTR && !cfs_cmd_is_stopped(NULL))
			continue;
		if (n < 0)
			return cfs_err_errno(err, -errno, "write");
		p += n;
		length_bytes -= (size_t)n;
	}
	return 0;
}

static int write_nothing(void *arg, const void *bytes, size_t length_bytes,
			 struct cfs_err *err)
{
	(void)arg;
	(void)bytes;
	(void)length_bytes;
	(void)err;
	return 0;
}

static int export(struct cp *cp, const struct cp_operand *src,
		  int (*write_fn)(void *arg, const void *bytes,
				  size_t length_bytes, struct cfs_err *err),
		  void *write_arg)
{
	struct cfs_transfer_options opt = cp_options(cp);
	CFS_CLEANUP(cfs_freep) char *base = cp_operand_base(src);
	struct cp_outcome outcome = { .source = src };
	struct cfs_fs *fs = cfs_io_fs(src->io);
	struct cfs_cmd *cmd = cp->cmd;
	struct cfs_progress *progress;
	uint64_t ino;
	int r;

	if (!base)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	r = cfs_fs_resolve(fs, cfs_fs_root_ino(fs), src->path,
			   strlen(src->path), CFS_FS_FOLLOW_ALL, &ino,
			   &cmd->err);
	if (r < 0)
		return cfs_cmd_wrap(cmd, src->text, r);
	opt.is_dry_run = false;
	progress = cfs_progress_begin(cmd, "archive", "bytes", 0);
	r = cfs_export_archive(fs, ino, base, cfs_cmd_str(cmd, "archive", ""),
			       write_fn, write_arg, &opt, &outcome.entries,
			       &cmd->err);
	cfs_progress_end(progress);
	if (r < 0)
		return r;
	return cp_add_outcome(cp, &outcome);
}

static int export_to_file(struct cp *cp, const struct cp_operand *src,
			  const struct cp_operand *dst)
{
	CFS_CLEANUP(cp_place_donep) struct cp_place place = { .dir_fd = -1 };
	struct cp_host_file file = { .fd = -1 };
	struct file_writer w;
	int r;

	r = cp_place_host(cp, dst, "", false, &place);
	if (r == 0 && !place.name[0])
		r = cfs_err_errno(&cp->cmd->err, -EISDIR, "%s", dst->text);
	if (r == 0)
		r = cp_place_check_file(cp, dst, &place);
	if (r < 0)
		return r;
	if (place.is_special) {
		w.fd = openat(place.dir_fd, place.name, O_WRONLY | O_CLOEXEC);
		if (w.fd < 0)
			return cfs_err_errno(&cp->cmd->err, -errno, "%s",
					     dst->text);
		r = export(cp, src, write_file, &w);
		close(w.fd);
		return r < 0 ? cfs_cmd_wrap(cp->cmd, dst->text, r) : 0;
	}
	r = cp_host_file_open(&file, &place, &cp->cmd->err);
	if (r < 0)
		return cfs_cmd_wrap(cp->cmd, dst->text, r);
	w.fd = file.fd;
	r = export(cp, src, write_file, &w);
	if (r == 0 && fsync(file.fd) < 0)
		r = cfs_err_errno(&cp->cmd->err, -errno, "write");
	if (r < 0)
		r = cfs_cmd_wrap(cp->cmd, dst->text, r);
	return cp_host_file_close(&file, r, &cp->cmd->err);
}

static int archive(struct cp *cp)
{
	struct cp_operand *src = &cp->operands[0];
	const struct cp_operand *dst = &cp->operands[1];
	struct cfs_cmd *cmd = cp->cmd;
	int r;

	if ((src->kind != CP_LUN && src->kind != CP_TREE) ||
	    (dst->kind != CP_STDIO && dst->kind != CP_HOST))
		return cfs_cmd_usage(cmd, "--archive takes POOL:TREE:/path "
					  "and '-' or a file");
	if (dst->kind == CP_STDIO && isatty(STDOUT_FILENO) && !cmd->is_dry_run)
		return cfs_cmd_usage(cmd, "an archive is not written to a "
					  "terminal");
	r = cfs_export_check_format(cfs_cmd_str(cmd, "archive", ""), &cmd->err);
	if (r < 0)
		return cfs_cmd_usage(cmd, "--archive: %s", cmd->err.msg);
	r = cp_open(cp, src, false);
	if (r == 0)
		r = need_tree(cp, src);
	if (r < 0)
		return r;
	cp->source = src;
	cp->prefix = "";
	if (cmd->is_dry_run)
		return export(cp, src, write_nothing, NULL);
	return dst->kind == CP_STDIO ? export(cp, src, cfs_cmd_write, cmd)
				     : export_to_file(cp, src, dst);
}

int cp_run_archive(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cp_donep) struct cp cp;
	int r;

	if (cmd->operand_count != 2)
		return cfs_cmd_usage(cmd, "--archive takes two operands");
	r = cp_init(&cp, cmd, SIZE_MAX, false);
	if (r == 0)
		r = cfs_cmd_set_schema(cmd, "archive");
	if (r < 0)
		return r;
	r = archive(&cp);
	cp_tell_damage(&cp);
	r = cp_close(&cp, r);
	if (r == 0)
		cp_put_outcomes(&cp, cmd->operands[1]);
	return r;
}

/* -------------------------------------------------------------- extract */

struct target {
	struct cfs_fs *fs;
	uint64_t ino;
	struct cp_place place;
	bool is_made;
};

/* The directory at DST; it is made if there is nothing of its name. */
static int find_target(struct cp *cp, const struct cp_operand *dst,
		       struct target *t)
{
	struct cfs_err *err = &cp->cmd->err;
	int r;

	t->fs = cfs_io_fs(dst->io);
	r = cp_place_tree(cp, dst, "", false, &t->place);
	if (r < 0)
		return r;
	t->ino = t->place.dir_ino;
	if (!t->place.name[0])
		return 0;
	if (t->place.is_there)
		return cfs_err_set(err, -ENOTDIR, "%s: no directory",
				   dst->text);
	if (cp->cmd->is_dry_run)
		return 0;
	r = cfs_fs_mkdir(t->fs, t->place.dir_ino, t->place.name,
			 strlen(t->place.name), 0755, geteuid(), getegid(),
			 &t->ino, err);
	if (r < 0)
		return cfs_cmd_wrap(cp->cmd, dst->text, r);
	t->is_made = true;
	return 0;
}

static int import(struct cp *cp, const struct cp_operand *src, int fd,
		  struct target *t)
{
	struct cfs_transfer_options opt = cp_options(cp);
	struct cp_outcome outcome = { .source = src };
	struct cfs_err *err = &cp->cmd->err, why;
	struct cfs_progress *progress;
	int r;

	progress = cfs_progress_begin(cp->cmd, "extract", "bytes", 0);
	r = cfs_import_archive(t->fs, t->ino, fd, &opt, &outcome.entries, err);
	cfs_progress_end(progress);
	if (r == 0)
		return cp_add_outcome(cp, &outcome);
	why = *err;
	if (t->is_made)
		(void)cfs_transfer_remove(t->fs, t->place.dir_ino,
					  t->place.name, strlen(t->place.name),
					  true, NULL, NULL, err);
	*err = why;
	if (!t->is_made && outcome.entries.entries && !cp->cmd->is_dry_run)
		(void)cfs_err_set(err, r, "%s: %llu %s", why.msg,
				  (unsigned long long)outcome.entries.entries,
				  cfs_plural(outcome.entries.entries,
					     "entry was extracted before and "
					     "stays",
					     "entries were extracted before "
					     "and stay"));
	return cfs_cmd_wrap(
		cp->cmd, src->kind == CP_STDIO ? "standard input" : src->text,
		r);
}

static int extract(struct cp *cp)
{
	struct target t = { .place = { .dir_fd = -1 } };
	struct cp_operand *src = &cp->operands[0], *dst = &cp->operands[1];
	struct cfs_cmd *cmd = cp->cmd;
	int r, fd = STDIN_FILENO;

	if ((dst->kind != CP_LUN && dst->kind != CP_TREE) ||
	    (src->kind != CP_STDIO && src->kind != CP_HOST))
		return cfs_cmd_usage(cmd, "--extract takes an archive or '-', "
					  "and POOL:TREE:/path");
	if (src->kind == CP_HOST)
		fd = open(src->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return cfs_err_errno(&cmd->err, -errno, "%s", src->text);
	r = cp_open(cp, dst, true);
	if (r == 0)
		r = need_tree(cp, dst);
	if (r == 0)
		r = find_target(cp, dst, &t);
	cp->source = src;
	cp->prefix = "";
	if (r == 0)
		r = import(cp, src, fd, &t);
	cp_place_donep(&t.place);
	if (src->kind == CP_HOST)
		close(fd);
	return r;
}

int cp_run_extract(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cp_donep) struct cp cp;
	int r;

	if (cmd->operand_count != 2)
		return cfs_cmd_usage(cmd, "--extract takes two operands");
	r = cp_init(&cp, cmd, 1, false);
	if (r == 0)
		r = cfs_cmd_set_schema(cmd, "extract");
	if (r < 0)
		return r;
	r = cp_close(&cp, extract(&cp));
	if (r == 0)
		cp_put_outcomes(&cp, cmd->operands[1]);
	return r;
}
