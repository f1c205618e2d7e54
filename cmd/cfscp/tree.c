/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cfscp --list, --mkdir, --remove: look at a tree, and tidy it. */
#include "cfscp/cfscp.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "common/table.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Do @act with each operand, all of which are in trees; each is tried. */
static int each(struct cp *cp, bool is_writable,
		int (*act)(struct cp *cp, const struct cp_operand *op,
			   void *arg),
		void *arg)
{
	size_t i;
	int r;

	for (i = 0; i < cp->operand_count; i++) {
		struct cp_operand *op = &cp->operands[i];

		r = cp_open(cp, op, is_writable);
		if (r == 0 && op->kind != CP_TREE)
			r = cfs_err_set(&cp->cmd->err, -ENOTDIR,
					"%s: a LUN, not a tree of files",
					op->text);
		if (r == 0)
			r = act(cp, op, arg);
		if (r == -EINTR)
			return r;
		if (r < 0)
			(void)cfs_cmd_fail(cp->cmd, op->text, &cp->cmd->err);
	}
	return 0;
}

/* ----------------------------------------------------------------- list */

struct listing {
	struct cfs_table *table;
	bool is_recursive;
};

static const char *type_of(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "symlink";
	case S_IFBLK:
		return "block";
	case S_IFCHR:
		return "char";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	default:
		return "file";
	}
}

static void mode_text(uint32_t mode, char ret[11])
{
	static const char letters[] = "rwxrwxrwx";
	static const struct {
		uint32_t bit;
		int at;
		char set, also;
	} special[] = {
		{ S_ISUID, 3, 'S', 's' },
		{ S_ISGID, 6, 'S', 's' },
		{ S_ISVTX, 9, 'T', 't' },
	};
	const char *type = type_of(mode);
	size_t i;

	ret[0] = S_ISREG(mode)    ? '-'
		 : S_ISFIFO(mode) ? 'p'
		 : S_ISLNK(mode)  ? 'l'
				  : type[0];
	for (i = 0; i < 9; i++)
		ret[i + 1] = mode & (0400u >> i) ? letters[i] : '-';
	for (i = 0; i < 3; i++)
		if (mode & special[i].bit)
			ret[special[i].at] = ret[special[i].at] == 'x'
						     ? special[i].also
						     : special[i].set;
	ret[10] = '\0';
}

/* Of a file, which may be older than 1970. */
static char *format_time(int64_t ns, char ret[CFS_TIME_TEXT_BYTES])
{
	int64_t seconds = ns / (int64_t)CFS_NS_PER_S;
	int64_t rest = ns % (int64_t)CFS_NS_PER_S;

	if (rest < 0) {
		seconds--;
		rest += (int64_t)CFS_NS_PER_S;
	}
	return cfs_time_format(seconds, (uint32_t)rest, ret);
}

static void put_json(struct cfs_cmd *cmd, const char *path, size_t path_bytes,
		     uint64_t ino, const struct cfs_inode *inode,
		     const char *target, size_t target_bytes)
{
	char when[CFS_TIME_TEXT_BYTES], mode[8];

	(void)snprintf(mode, sizeof(mode), "%04o", inode->mode & 07777);
	cfs_out_begin_obj(cmd->out, NULL);
	cfs_out_bytes(cmd->out, "path", path, path_bytes);
	cfs_out_str(cmd->out, "type", type_of(inode->mode));
	cfs_out_str(cmd->out, "mode", mode);
	cfs_out_u64(cmd->out, "uid", inode->uid);
	cfs_out_u64(cmd->out, "gid", inode->gid);
	cfs_out_u64(cmd->out, "links", inode->nlink);
	cfs_out_u64(cmd->out, "size_bytes", inode->size_bytes);
	cfs_out_str(cmd->out, "modified_at",
		    format_time(inode->mtime_ns, when));
	cfs_out_i64(cmd->out, "mtime_ns", inode->mtime_ns);
	cfs_out_u64(cmd->out, "inode", ino);
	if (target)
		cfs_out_bytes(cmd->out, "target", target, target_bytes);
	else
		cfs_out_null(cmd->out, "target");
	if (S_ISBLK(inode->mode) || S_ISCHR(inode->mode)) {
		cfs_out_u64(cmd->out, "major", inode->rdev >> 32);
		cfs_out_u64(cmd->out, "minor", inode->rdev & UINT32_MAX);
	}
	cfs_out_end(cmd->out);
}

static int put_text(struct listing *l, const char *path, size_t path_bytes,
		    const struct cfs_inode *inode, const char *target,
		    size_t target_bytes)
{
	CFS_CLEANUP(cfs_freep)
	char *name = cfs_text_escape_dup(path, path_bytes);
	CFS_CLEANUP(cfs_freep)
	char *to = target ? cfs_text_escape_dup(target, target_bytes) : NULL;
	char when[CFS_TIME_TEXT_BYTES], mode[11];

	if (!name)
		return -ENOMEM;
	mode_text(inode->mode, mode);
	cfs_table_str(l->table, mode);
	cfs_table_u64(l->table, inode->nlink);
	cfs_table_fmt(l->table, "%u:%u", inode->uid, inode->gid);
	if (S_ISBLK(inode->mode) || S_ISCHR(inode->mode))
		cfs_table_fmt(l->table, "%llu,%llu",
			      (unsigned long long)(inode->rdev >> 32),
			      (unsigned long long)(inode->rdev & UINT32_MAX));
	else
		cfs_table_size(l->table, inode->size_bytes);
	/* Without the fraction. */
	cfs_table_fmt(l->table, "%.19sZ", format_time(inode->mtime_ns, when));
	cfs_table_fmt(l->table, "%s%s%s", name, to ? " -> " : "", to ? to : "");
	return 0;
}

static int put_inode(struct cp *cp, struct listing *l, struct cfs_fs *fs,
		     uint64_t ino, const struct cfs_inode *inode,
		     const char *path, size_t path_bytes)
{
	char target[CFS_SYMLINK_BYTES_MAX + 1];
	size_t target_bytes = 0;
	bool is_link = S_ISLNK(inode->mode);
	int r = 0;

	if (is_link)
		r = cfs_fs_readlink(fs, ino, target, CFS_SYMLINK_BYTES_MAX,
				    &target_bytes, &cp->cmd->err);
	if (r < 0)
		return r;
	put_json(cp->cmd, path, path_bytes, ino, inode, is_link ? target : NULL,
		 target_bytes);
	r = put_text(l, path, path_bytes, inode, is_link ? target : NULL,
		     target_bytes);
	return r < 0 ? cfs_err_set(&cp->cmd->err, r, "out of memory") : 0;
}

/* Directories that are still to be listed, and their paths. */
struct todo {
	uint64_t ino;
	char *path;
};

struct walk {
	struct cp *cp;
	struct cfs_fs *fs;
	struct listing *l;
	const struct cp_operand *op;
	CFS_VEC(struct todo) todo;
	CFS_VEC(struct cfs_fs_entry) entries;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct cfs_fs_entry *)a)->name,
		      ((const struct cfs_fs_entry *)b)->name);
}

#define ENTRIES_AT_ONCE 64u

static int read_entries(struct walk *w, uint64_t ino)
{
	struct cfs_err *err = &w->cp->cmd->err;
	uint64_t cookie = 2; /* behind "." and ".." */
	size_t count;
	int r;

	w->entries.count = 0;
	do {
		if (cfs_cmd_is_stopped(NULL))
			return cfs_err_set(err, -EINTR, "stopped");
		if (cfs_vec_reserve(&w->entries, ENTRIES_AT_ONCE) < 0)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		r = cfs_fs_readdir(w->fs, ino, cookie,
				   w->entries.items + w->entries.count,
				   ENTRIES_AT_ONCE, &count, err);
		if (r < 0)
			return r;
		w->entries.count += count;
		if (count)
			cookie = w->entries.items[w->entries.count - 1]
					 .next_cookie;
	} while (count);
	if (w->entries.count)
		qsort(w->entries.items, w->entries.count,
		      sizeof(w->entries.items[0]), by_name);
	return 0;
}

static int list_entry(struct walk *w, const struct cfs_fs_entry *entry,
		      const char *dir)
{
	size_t n = strlen(dir);
	const char *slash = n && dir[n - 1] == '/' ? "" : "/";
	struct cfs_cmd *cmd = w->cp->cmd;
	struct todo todo = { .ino = entry->ino };
	struct cfs_inode inode;
	int r;

	if (asprintf(&todo.path, "%s%s%s", dir, slash, entry->name) < 0)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	r = cfs_fs_getattr(w->fs, entry->ino, &inode, &cmd->err);
	if (r == 0)
		r = put_inode(w->cp, w->l, w->fs, entry->ino, &inode, todo.path,
			      strlen(todo.path));
	if (r < 0 && r != -ENOMEM) {
		CFS_CLEANUP(cfs_freep)
		char *object = cp_tree_object(w->op, todo.path);

		(void)cfs_cmd_fail(cmd, object, &cmd->err);
		r = 0;
	} else if (r == 0 && S_ISDIR(inode.mode) && w->l->is_recursive) {
		r = cfs_vec_push(&w->todo, todo) < 0
			    ? cfs_err_set(&cmd->err, -ENOMEM, "out of memory")
			    : 0;
		if (r == 0)
			return 0;
	}
	free(todo.path);
	return r;
}

static int list_directory(struct walk *w, uint64_t ino, const char *path)
{
	size_t i;
	int r;

	r = read_entries(w, ino);
	for (i = 0; i < w->entries.count && r == 0; i++)
		r = list_entry(w, &w->entries.items[i], path);
	return r;
}

static int list_one(struct cp *cp, const struct cp_operand *op, void *arg)
{
	struct walk w = {
		.cp = cp,
		.fs = cfs_io_fs(op->io),
		.l = arg,
		.op = op,
	};
	struct cfs_err *err = &cp->cmd->err;
	struct cfs_inode inode;
	uint64_t ino;
	int r;

	r = cfs_fs_resolve(w.fs, cfs_fs_root_ino(w.fs), op->path,
			   strlen(op->path), CFS_FS_FOLLOW_MIDDLE, &ino, err);
	if (r == 0)
		r = cfs_fs_getattr(w.fs, ino, &inode, err);
	if (r == 0 && S_ISDIR(inode.mode))
		r = list_directory(&w, ino, op->path);
	else if (r == 0)
		r = put_inode(cp, arg, w.fs, ino, &inode, op->path,
			      strlen(op->path));
	while (r == 0 && w.todo.count) {
		struct todo next = w.todo.items[--w.todo.count];

		r = list_directory(&w, next.ino, next.path);
		free(next.path);
	}
	while (w.todo.count)
		free(w.todo.items[--w.todo.count].path);
	cfs_vec_done(&w.todo);
	cfs_vec_done(&w.entries);
	return r;
}

int cp_run_list(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cp_donep) struct cp cp;
	struct listing l = {
		.is_recursive = cfs_cmd_has(cmd, "recursive"),
	};
	int r;

	r = cp_init(&cp, cmd, SIZE_MAX, true);
	if (r == 0)
		r = cfs_cmd_set_schema(cmd, "list");
	if (r < 0)
		return r;
	cmd->items = "entries";
	l.table = cfs_table_new(cmd, "MODE|>LINKS|OWNER|>SIZE|MODIFIED|PATH");
	cfs_out_begin_array(cmd->out, "entries");
	r = cp_close(&cp, each(&cp, false, list_one, &l));
	cfs_out_end(cmd->out);
	if (r == 0)
		r = cfs_table_print(l.table, cmd);
	cfs_table_free(l.table);
	return r;
}

/* -------------------------------------------------------- mkdir, remove */

/* The directory and the name that @op is in it. */
static int parent_of(struct cp *cp, const struct cp_operand *op,
		     uint64_t *ret_dir_ino, const char **ret_name,
		     size_t *ret_name_bytes)
{
	struct cfs_fs *fs = cfs_io_fs(op->io);
	size_t n = strlen(op->path);

	while (n > 1 && op->path[n - 1] == '/')
		n--;
	if (n == 1 && op->path[0] == '/')
		return cfs_err_set(&cp->cmd->err, -EEXIST,
				   "the root of the tree is always there");
	return cfs_fs_resolve_parent(fs, cfs_fs_root_ino(fs), op->path, n,
				     CFS_FS_FOLLOW_ALL, ret_dir_ino, ret_name,
				     ret_name_bytes, &cp->cmd->err);
}

static void put_path(struct cfs_cmd *cmd, const struct cp_operand *op,
		     const char *done)
{
	cfs_out_begin_obj(cmd->out, NULL);
	cfs_out_str(cmd->out, "volume", op->name.volume);
	cfs_out_str(cmd->out, "path", op->path);
	cfs_out_end(cmd->out);
	if (cmd->is_dry_run)
		cfs_cmd_print(cmd, "%s: would be %s\n", op->text, done);
}

static int mkdir_one(struct cp *cp, const struct cp_operand *op, void *arg)
{
	struct cfs_fs *fs = cfs_io_fs(op->io);
	struct cfs_err *err = &cp->cmd->err;
	mode_t mask = umask(0);
	uint64_t dir_ino, ino;
	const char *name;
	size_t n;
	int r;

	(void)arg;
	(void)umask(mask);
	r = parent_of(cp, op, &dir_ino, &name, &n);
	if (r < 0)
		return r;
	r = cfs_fs_lookup(fs, dir_ino, name, n, &ino, NULL, err);
	if (r == 0)
		return cfs_err_set(err, -EEXIST, "it exists already");
	if (r != -ENOENT)
		return r;
	if (!cp->cmd->is_dry_run) {
		r = cfs_fs_mkdir(fs, dir_ino, name, n, 0777 & ~(uint32_t)mask,
				 geteuid(), getegid(), &ino, err);
		if (r < 0)
			return r;
	}
	put_path(cp->cmd, op, "made");
	return 0;
}

static int remove_one(struct cp *cp, const struct cp_operand *op, void *arg)
{
	bool is_recursive = cfs_cmd_has(cp->cmd, "recursive");
	struct cfs_transfer_options opt = { .stop = cfs_cmd_is_stopped };
	struct cfs_fs *fs = cfs_io_fs(op->io);
	struct cfs_err *err = &cp->cmd->err, why;
	uint64_t *total = arg, count = 0, dir_ino, ino;
	struct cfs_inode inode;
	const char *name;
	size_t n;
	int r;

	r = parent_of(cp, op, &dir_ino, &name, &n);
	if (r == 0)
		r = cfs_fs_lookup(fs, dir_ino, name, n, &ino, &inode, err);
	if (r != 0)
		return r;
	if (S_ISDIR(inode.mode) && inode.entry_count && !is_recursive)
		return cfs_err_set(err, -ENOTEMPTY,
				   "the directory is not empty: remove it with "
				   "-r");
	if (!cp->cmd->is_dry_run)
		r = cfs_transfer_remove(fs, dir_ino, name, n, is_recursive,
					&opt, &count, err);
	*total += count;
	if (r < 0 && count) {
		why = *err;
		return cfs_err_set(
			err, r, "%s: %llu %s removed before", why.msg,
			(unsigned long long)count,
			cfs_plural(count, "entry was", "entries were"));
	}
	if (r == 0)
		put_path(cp->cmd, op, "removed");
	return r;
}

static int run_change(struct cfs_cmd *cmd, const char *mode, const char *key,
		      int (*act)(struct cp *cp, const struct cp_operand *op,
				 void *arg))
{
	CFS_CLEANUP(cp_donep) struct cp cp;
	uint64_t total = 0;
	int r;

	r = cp_init(&cp, cmd, 0, true);
	if (r == 0)
		r = cfs_cmd_set_schema(cmd, mode);
	if (r < 0)
		return r;
	cmd->items = key;
	cfs_out_begin_array(cmd->out, key);
	r = cp_close(&cp, each(&cp, true, act, &total));
	cfs_out_end(cmd->out);
	if (act == remove_one)
		cfs_out_u64(cmd->out, "removed_count", total);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	return r;
}

int cp_run_mkdir(struct cfs_cmd *cmd)
{
	return run_change(cmd, "mkdir", "directories", mkdir_one);
}

int cp_run_remove(struct cfs_cmd *cmd)
{
	return run_change(cmd, "remove", "removed", remove_one);
}
