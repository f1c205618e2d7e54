/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where a copy goes, by the rules of cp(1): into DST if that is a directory,
 * else it becomes DST.  What DST names may be a symbolic link, since the user
 * wrote it; below it none is followed.
 */
#include "cfscp/cfscp.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void cp_place_donep(struct cp_place *place)
{
	free(place->name);
	place->name = NULL;
	if (place->dir_fd >= 0)
		close(place->dir_fd);
	place->dir_fd = -1;
}

/* Length of @path without the slashes at its end. */
static size_t trimmed(const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	return n;
}

char *cp_base_name(const char *path)
{
	size_t n = trimmed(path), begin = n;

	while (begin > 0 && path[begin - 1] != '/')
		begin--;
	path += begin;
	n -= begin;
	if ((n == 1 && path[0] == '.') ||
	    (n == 2 && strncmp(path, "..", 2) == 0))
		n = 0;
	return strndup(path, n);
}

char *cp_operand_base(const struct cp_operand *op)
{
	if (op->kind != CP_LUN)
		return cp_base_name(op->path);
	return strdup(op->name.clone ? op->name.clone : op->name.container);
}

static int out_of_memory(struct cp *cp)
{
	return cfs_err_set(&cp->cmd->err, -ENOMEM, "out of memory");
}

int cp_place_check_file(struct cp *cp, const struct cp_operand *dst,
			const struct cp_place *place)
{
	if (place->wants_directory)
		return cfs_err_set(&cp->cmd->err, -ENOTDIR,
				   "%s: there is no such directory", dst->text);
	if (!place->name[0])
		return cfs_err_set(&cp->cmd->err, -EISDIR,
				   "%s: a directory: name a file in it",
				   dst->text);
	if (place->is_there && S_ISDIR(place->mode))
		return cfs_err_set(&cp->cmd->err, -EISDIR,
				   "%s: %s in it is a directory", dst->text,
				   place->name);
	return 0;
}

/* ------------------------------------------------------------- the host */

static int host_error(struct cp *cp, const struct cp_operand *dst, int code)
{
	return cfs_err_errno(&cp->cmd->err, code, "%s", dst->text);
}

static int open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int look_at(struct cp *cp, const struct cp_operand *dst,
		   struct cp_place *place)
{
	struct stat st;

	if (!place->name[0])
		return 0;
	if (fstatat(place->dir_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : host_error(cp, dst, -errno);
	place->is_there = true;
	place->mode = st.st_mode;
	place->uid = st.st_uid;
	place->gid = st.st_gid;
	place->is_special = S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode) ||
			    S_ISFIFO(st.st_mode);
	return 0;
}

/* DST is no directory: split it into its directory and a name. */
static int split_host(struct cp *cp, const struct cp_operand *dst,
		      const char *path, struct cp_place *place)
{
	CFS_CLEANUP(cfs_freep) char *dir = NULL;
	size_t n = trimmed(path), begin = n;
	int r;

	while (begin > 0 && path[begin - 1] != '/')
		begin--;
	dir = begin ? strndup(path, begin) : strdup(".");
	place->name = strndup(path + begin, n - begin);
	place->wants_directory = path[n] == '/';
	if (!dir || !place->name)
		return out_of_memory(cp);
	if (!place->name[0] || strcmp(place->name, ".") == 0 ||
	    strcmp(place->name, "..") == 0)
		return host_error(cp, dst, -ENOENT);
	r = open_dir(dir);
	if (r < 0)
		return host_error(cp, dst, r);
	place->dir_fd = r;
	return look_at(cp, dst, place);
}

int cp_place_host(struct cp *cp, const struct cp_operand *dst, const char *base,
		  bool must_be_directory, struct cp_place *ret)
{
	CFS_CLEANUP(cp_place_donep) struct cp_place place = { .dir_fd = -1 };
	CFS_CLEANUP(cfs_freep) char *real = NULL;
	struct stat st;
	int r;

	if (stat(dst->path, &st) == 0 && S_ISDIR(st.st_mode)) {
		place.name = strdup(base);
		r = place.name ? open_dir(dst->path) : out_of_memory(cp);
		if (r < 0)
			return place.name ? host_error(cp, dst, r) : r;
		place.dir_fd = r;
		r = look_at(cp, dst, &place);
	} else if (must_be_directory) {
		r = host_error(cp, dst, -ENOTDIR);
	} else {
		/* Through a link that DST itself is, to where it leads. */
		real = realpath(dst->path, NULL);
		r = split_host(cp, dst, real ? real : dst->path, &place);
	}
	if (r < 0)
		return r;
	*ret = place;
	place.name = NULL;
	place.dir_fd = -1;
	return 0;
}

/* ------------------------------------------------------------- the tree */

static int tree_error(struct cp *cp, const struct cp_operand *dst, int code)
{
	return cfs_cmd_wrap(cp->cmd, dst->text, code);
}

static int look_in(struct cp *cp, const struct cp_operand *dst,
		   struct cp_place *place)
{
	int r;

	if (!place->name[0])
		return 0;
	r = cfs_fs_lookup(cfs_io_fs(dst->io), place->dir_ino, place->name,
			  strlen(place->name), &place->ino, &place->inode,
			  &cp->cmd->err);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return tree_error(cp, dst, r);
	place->is_there = true;
	place->mode = place->inode.mode;
	place->uid = place->inode.uid;
	place->gid = place->inode.gid;
	return 0;
}

static int split_tree(struct cp *cp, const struct cp_operand *dst,
		      struct cp_place *place)
{
	const char *name;
	size_t name_bytes;
	int r;

	r = cfs_fs_resolve_parent(
		cfs_io_fs(dst->io), cfs_fs_root_ino(cfs_io_fs(dst->io)),
		dst->path, trimmed(dst->path), CFS_FS_FOLLOW_ALL,
		&place->dir_ino, &name, &name_bytes, &cp->cmd->err);
	if (r < 0)
		return tree_error(cp, dst, r);
	place->name = strndup(name, name_bytes);
	place->wants_directory = dst->path[trimmed(dst->path)] == '/';
	if (!place->name)
		return out_of_memory(cp);
	return look_in(cp, dst, place);
}

int cp_place_tree(struct cp *cp, const struct cp_operand *dst, const char *base,
		  bool must_be_directory, struct cp_place *ret)
{
	CFS_CLEANUP(cp_place_donep) struct cp_place place = { .dir_fd = -1 };
	struct cfs_fs *fs = cfs_io_fs(dst->io);
	struct cfs_inode inode;
	uint64_t ino;
	int r;

	r = cfs_fs_resolve(fs, cfs_fs_root_ino(fs), dst->path,
			   strlen(dst->path), CFS_FS_FOLLOW_ALL, &ino,
			   &cp->cmd->err);
	if (r == 0)
		r = cfs_fs_getattr(fs, ino, &inode, &cp->cmd->err);
	if (r < 0 && r != -ENOENT && r != -ENOTDIR)
		return tree_error(cp, dst, r);
	if (r == 0 && S_ISDIR(inode.mode)) {
		place.dir_ino = ino;
		place.name = strdup(base);
		r = place.name ? look_in(cp, dst, &place) : out_of_memory(cp);
	} else if (must_be_directory) {
		(void)cfs_err_set(&cp->cmd->err, -ENOTDIR,
				  "no directory: several sources need one");
		r = tree_error(cp, dst, -ENOTDIR);
	} else {
		r = split_tree(cp, dst, &place);
	}
	if (r < 0)
		return r;
	*ret = place;
	place.name = NULL;
	return 0;
}

/* ------------------------------------------------- a new file of the host */

/* Without a name as long as it is not complete, where the host can. */
int cp_host_file_open(struct cp_host_file *f, const struct cp_place *place,
		      struct cfs_err *err)
{
	unsigned int count = 0;

	f->place = place;
	f->temp[0] = '\0';
	f->fd = openat(place->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC,
		       0666);
	while (f->fd < 0 && count < 100) {
		(void)snprintf(f->temp, sizeof(f->temp), ".cfscp-%ld-%u",
			       (long)getpid(), count++);
		f->fd = openat(place->dir_fd, f->temp,
			       O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW |
				       O_CLOEXEC,
			       0666);
		if (f->fd < 0 && errno != EEXIST)
			break;
	}
	if (f->fd < 0)
		return cfs_err_errno(err, -errno, "%s", place->name);
	/* In the place of another file: with its owner and rights. */
	if (place->is_there && S_ISREG(place->mode)) {
		(void)!fchown(f->fd, place->uid, place->gid);
		(void)fchmod(f->fd, place->mode & 07777);
	}
	return 0;
}

/* Give a file without a name a temporary one. */
static int link_temp(struct cp_host_file *f)
{
	unsigned int count;
	char from[32];

	(void)snprintf(from, sizeof(from), "/proc/self/fd/%d", f->fd);
	for (count = 0; count < 100; count++) {
		(void)snprintf(f->temp, sizeof(f->temp), ".cfscp-%ld-%u",
			       (long)getpid(), count);
		if (linkat(AT_FDCWD, from, f->place->dir_fd, f->temp,
			   AT_SYMLINK_FOLLOW) == 0)
			return 0;
		if (errno != EEXIST)
			break;
	}
	f->temp[0] = '\0';
	return -errno;
}

int cp_host_file_close(struct cp_host_file *f, int r, struct cfs_err *err)
{
	const struct cp_place *p = f->place;
	int got = 0;

	if (r == 0 && !f->temp[0])
		got = link_temp(f);
	if (r == 0 && got == 0 &&
	    renameat(p->dir_fd, f->temp, p->dir_fd, p->name) < 0)
		got = -errno;
	if (r == 0 && got == 0 && fsync(p->dir_fd) < 0)
		got = -errno;
	if ((r < 0 || got < 0) && f->temp[0])
		(void)unlinkat(p->dir_fd, f->temp, 0);
	if (close(f->fd) < 0 && got == 0)
		got = -errno;
	f->fd = -1;
	if (r == 0 && got < 0)
		r = cfs_err_errno(err, got, "%s", p->name);
	return r;
}
