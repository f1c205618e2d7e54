/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths below a destination, and the directories that are open on the way to
 * where the work is.  Nothing here follows a link: each component is opened
 * from its parent by the sink, which refuses all but directories.
 */
#include "session/transfer_priv.h"

#include <errno.h>
#include <string.h>

/* Descriptors that a stack keeps open besides the root. */
#define OPEN_LEVELS 32u

static int clean_component(const char *name, size_t n, struct cfs_buf *ret,
			   size_t begin, struct cfs_err *err)
{
	if (n == 0 || (n == 1 && name[0] == '.'))
		return 0;
	if (n == 2 && name[0] == '.' && name[1] == '.')
		return cfs_err_set(err, -EXDEV,
				   "its name leads out of the destination "
				   "(\"..\"): left out");
	if (n > CFS_FILE_NAME_BYTES_MAX)
		return cfs_err_set(err, -ENAMETOOLONG,
				   "a name longer than %u bytes: left out",
				   CFS_FILE_NAME_BYTES_MAX);
	if ((ret->bytes > begin && cfs_buf_append(ret, "/", 1) < 0) ||
	    cfs_buf_append(ret, name, n) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

int transfer_path_clean(const char *name, struct cfs_buf *ret,
			struct cfs_err *err)
{
	size_t begin = ret->bytes;
	int r = 0;

	while (*name && r == 0) {
		size_t n = strcspn(name, "/");

		r = clean_component(name, n, ret, begin, err);
		name += n;
		name += strspn(name, "/");
	}
	if (r == 0 && !cfs_buf_text(ret))
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	if (r < 0)
		ret->bytes = begin;
	return r;
}

int transfer_path_add(struct cfs_buf *path, const char *name, size_t name_bytes)
{
	if ((path->bytes && cfs_buf_append(path, "/", 1) < 0) ||
	    cfs_buf_append(path, name, name_bytes) < 0)
		return -ENOMEM;
	return cfs_buf_text(path) ? 0 : -ENOMEM;
}

void transfer_path_cut(struct cfs_buf *path, size_t bytes)
{
	path->bytes = bytes;
	(void)cfs_buf_text(path); /* has room: it was longer */
}

const char *transfer_path_last(const char *path, size_t *ret_dir_bytes)
{
	const char *slash = strrchr(path, '/');

	*ret_dir_bytes = slash ? (size_t)(slash - path) : 0;
	return slash ? slash + 1 : path;
}

static void level_close(struct transfer_stack *s, struct transfer_level *l)
{
	if (s->close && l->handle != TRANSFER_NO_HANDLE) {
		s->close(s->arg, l->handle);
		l->handle = TRANSFER_NO_HANDLE;
	}
}

void transfer_stack_done(struct transfer_stack *s)
{
	size_t i;

	for (i = 0; i < s->levels.count; i++)
		level_close(s, &s->levels.items[i]);
	cfs_vec_done(&s->levels);
	cfs_buf_donep(&s->path);
}

static int open_child(struct transfer_stack *s, uint64_t parent,
		      const char *name, size_t n, bool makes, uint64_t *ret,
		      struct cfs_err *err)
{
	char text[CFS_FILE_NAME_BYTES_MAX + 1];

	if (n > CFS_FILE_NAME_BYTES_MAX)
		return cfs_err_set(err, -ENAMETOOLONG,
				   "a name longer than %u bytes",
				   CFS_FILE_NAME_BYTES_MAX);
	memcpy(text, name, n);
	text[n] = '\0';
	return s->open(s->arg, parent, text, makes, ret, err);
}

/* Leave the levels that are not on the way to @path. */
static void pop_to(struct transfer_stack *s, const char *path,
		   size_t path_bytes)
{
	size_t keep = 0;

	while (keep < s->levels.count) {
		size_t n = s->levels.items[keep].path_bytes;

		if (n > path_bytes || memcmp(s->path.data, path, n) != 0 ||
		    (n < path_bytes && path[n] != '/'))
			break;
		keep++;
	}
	while (s->levels.count > keep)
		level_close(s, &s->levels.items[--s->levels.count]);
	s->path.bytes = keep ? s->levels.items[keep - 1].path_bytes : 0;
}

/* The deepest level was closed for being far up: open it anew, from the top. */
static int reopen_top(struct transfer_stack *s, struct cfs_err *err)
{
	struct transfer_level *top = &s->levels.items[s->levels.count - 1];
	uint64_t parent = s->root, child = TRANSFER_NO_HANDLE;
	size_t i, begin = 0;
	int r = 0;

	for (i = 0; i < s->levels.count && r == 0; i++) {
		size_t end = s->levels.items[i].path_bytes;

		r = open_child(s, parent, (char *)s->path.data + begin,
			       end - begin, false, &child, err);
		if (parent != s->root)
			s->close(s->arg, parent);
		parent = child;
		begin = end + 1;
	}
	if (r == 0)
		top->handle = child;
	return r;
}

static int push(struct transfer_stack *s, const char *name, size_t n,
		bool makes, struct cfs_err *err)
{
	size_t count = s->levels.count, old_bytes = s->path.bytes;
	struct transfer_level level;
	uint64_t parent = count ? s->levels.items[count - 1].handle : s->root;
	int r;

	r = open_child(s, parent, name, n, makes, &level.handle, err);
	if (r < 0)
		return r;
	r = transfer_path_add(&s->path, name, n);
	level.path_bytes = s->path.bytes;
	if (r < 0 || cfs_vec_push(&s->levels, level) < 0) {
		s->path.bytes = old_bytes;
		level_close(s, &level);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (count >= OPEN_LEVELS)
		level_close(s, &s->levels.items[count - OPEN_LEVELS]);
	return 0;
}

int transfer_stack_go(struct transfer_stack *s, const char *path,
		      size_t path_bytes, bool makes, uint64_t *ret,
		      struct cfs_err *err)
{
	size_t at, n;
	int r = 0;

	pop_to(s, path, path_bytes);
	if (s->levels.count &&
	    s->levels.items[s->levels.count - 1].handle == TRANSFER_NO_HANDLE)
		r = reopen_top(s, err);
	at = s->path.bytes ? s->path.bytes + 1 : 0;
	while (r == 0 && at < path_bytes) {
		const char *slash = memchr(path + at, '/', path_bytes - at);

		n = slash ? (size_t)(slash - path) - at : path_bytes - at;
		r = push(s, path + at, n, makes, err);
		at += n + 1;
	}
	if (r < 0)
		return r;
	*ret = s->levels.count ? s->levels.items[s->levels.count - 1].handle
			       : s->root;
	return 0;
}
