/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Names are taken apart from the left, and each part is checked where it is
 * found, so that the message can say which part is wrong and why.  Nothing
 * here looks at the host's files: what an operand means must not depend on
 * what happens to exist.
 */
#include "common/names.h"

#include <stdlib.h>
#include <string.h>

/*
 * Schemes that are URIs without "//" behind them.  Any other word before a
 * ':' is the path of a plain file, so that "vm:disk" stays pool "vm".
 */
static const char *const schemes[] = {
	"file", "nbd", "nbds", "nbd+unix", "nbds+unix", "rbd",
};

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_char(char c)
{
	return is_alpha(c) || is_digit(c) || c == '.' || c == '_' || c == '-';
}

/* Bytes of "SCHEME:" or "SCHEME://" at the head of @text; 0: no URI. */
static size_t scheme_length(const char *text)
{
	size_t n = 0, i;

	if (!is_alpha(text[0]))
		return 0;
	while (is_alpha(text[n]) || is_digit(text[n]) || text[n] == '+' ||
	       text[n] == '-' || text[n] == '.')
		n++;
	if (text[n] != ':')
		return 0;
	if (text[n + 1] == '/' && text[n + 2] == '/')
		return n + 3;
	for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strlen(schemes[i]) == n && !memcmp(schemes[i], text, n))
			return n + 1;
	}
	return 0;
}

/* Bytes of POOL at the head of @text: the ':' behind it, or the end. */
static size_t pool_length(const char *text)
{
	size_t skip = scheme_length(text);

	return skip + strcspn(text + skip, ":");
}

bool cfs_name_is_volume(const char *text)
{
	return text[pool_length(text)] == ':';
}

bool cfs_name_is_stdio(const char *text)
{
	return !strcmp(text, "-");
}

static int check_bytes(const char *what, const char *name, size_t length,
		       struct cfs_err *err)
{
	size_t i;

	if (!length)
		return cfs_err_set(err, -EINVAL, "%s is empty", what);
	if (length > CFS_NAME_BYTES_MAX)
		return cfs_err_set(err, -EINVAL,
				   "%s has %zu bytes, at most %u are allowed",
				   what, length, CFS_NAME_BYTES_MAX);
	if (name[0] == '-' || name[0] == '.')
		return cfs_err_set(err, -EINVAL, "%s begins with '%c'", what,
				   name[0]);
	for (i = 0; i < length; i++) {
		if (is_name_char(name[i]))
			continue;
		if (name[i] > ' ' && name[i] < 0x7f)
			return cfs_err_set(
				err, -EINVAL,
				"%s has a '%c': only A-Z a-z 0-9 . _ - are "
				"allowed",
				what, name[i]);
		return cfs_err_set(err, -EINVAL,
				   "%s has a byte 0x%02x: only A-Z a-z 0-9 . "
				   "_ - are allowed",
				   what, (unsigned int)(unsigned char)name[i]);
	}
	return 0;
}

int cfs_name_check(const char *what, const char *name, struct cfs_err *err)
{
	return check_bytes(what, name, strlen(name), err);
}

int cfs_name_parse_snap(const char *text, const char **ret, struct cfs_err *err)
{
	const char *name = text[0] == '@' ? text + 1 : text;
	int r;

	r = cfs_name_check("snapshot name", name, err);
	if (r < 0)
		return r;
	*ret = name;
	return 0;
}

void cfs_name_done(struct cfs_name *name)
{
	free(name->pool);
	free(name->volume);
	free(name->container);
	free(name->clone);
	free(name->snap);
	free(name->range_first);
	free(name->range_last);
	free(name->path);
	*name = (struct cfs_name)CFS_NAME_INIT;
}

static int copy(const char *from, size_t length, char **ret,
		struct cfs_err *err)
{
	char *s = strndup(from, length);

	if (!s)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	*ret = s;
	return 0;
}

/* Fill @name's pool from the head of @text; 0 and what follows in @ret_rest. */
static int parse_pool(const char *text, const char *env_pool,
		      struct cfs_name *name, const char **ret_rest,
		      struct cfs_err *err)
{
	size_t length = pool_length(text);

	*ret_rest = text + length;
	if (length) {
		if (length == scheme_length(text))
			return cfs_err_set(err, -EINVAL,
					   "the URI names no device");
		return copy(text, length, &name->pool, err);
	}
	if (!text[0])
		return cfs_err_set(err, -EINVAL, "the name is empty");
	if (!env_pool || !env_pool[0])
		return cfs_err_set(err, -EINVAL,
				   "a name that begins with ':' "
				   "needs a pool in $CFS_POOL");
	name->is_env_pool = true;
	return copy(env_pool, strlen(env_pool), &name->pool, err);
}

/* VOLUME: NAME or NAME/CLONE, @length bytes at @text. */
static int parse_volume(const char *text, size_t length, unsigned int allow,
			struct cfs_name *name, struct cfs_err *err)
{
	const char *slash = memchr(text, '/', length);
	size_t head = slash ? (size_t)(slash - text) : length;
	int r;

	if (!length)
		return cfs_err_set(err, -EINVAL,
				   "no volume is named behind "
				   "the ':'");
	if (slash == text)
		return cfs_err_set(err, -EINVAL,
				   "a path needs a volume before "
				   "it: POOL:VOLUME:/path");
	r = check_bytes("volume name", text, head, err);
	if (r == 0 && slash)
		r = check_bytes("clone name", slash + 1, length - head - 1,
				err);
	if (r < 0)
		return r;
	if (slash && !(allow & CFS_NAME_CLONE))
		return cfs_err_set(err, -EINVAL,
				   "a container is wanted here, "
				   "not a clone");
	r = copy(text, length, &name->volume, err);
	if (r == 0)
		r = copy(text, head, &name->container, err);
	if (r == 0 && slash)
		r = copy(slash + 1, length - head - 1, &name->clone, err);
	return r;
}

/*
 * FIRST..LAST: names may hold dots themselves, so the first ".." that leaves
 * a valid name on both sides is the one that counts.  Returns 1: a range.
 */
static int parse_range(const char *text, size_t length, struct cfs_name *name,
		       struct cfs_err *err)
{
	size_t i;
	int r;

	for (i = 0; i + 1 < length; i++) {
		if (text[i] != '.' || text[i + 1] != '.')
			continue;
		if (check_bytes("", text, i, NULL) < 0 ||
		    check_bytes("", text + i + 2, length - i - 2, NULL) < 0)
			continue;
		r = copy(text, i, &name->range_first, err);
		if (r == 0)
			r = copy(text + i + 2, length - i - 2,
				 &name->range_last, err);
		return r < 0 ? r : 1;
	}
	return 0;
}

static int parse_snap(const char *text, size_t length, unsigned int allow,
		      struct cfs_name *name, struct cfs_err *err)
{
	int r = 0;

	if (!(allow & CFS_NAME_SNAP))
		return cfs_err_set(err, -EINVAL,
				   "no snapshot can be named here");
	if (allow & CFS_NAME_RANGE)
		r = parse_range(text, length, name, err);
	if (r == 0)
		r = check_bytes("snapshot name", text, length, err);
	if (r < 0)
		return r;
	return copy(text, length, &name->snap, err);
}

/* What follows POOL: nothing, or ":VOLUME[@SNAP][:/path]". */
static int parse_rest(const char *rest, unsigned int allow,
		      struct cfs_name *name, struct cfs_err *err)
{
	size_t length;
	int r;

	if (!*rest)
		return 0;
	if (!(allow & CFS_NAME_VOLUME))
		return cfs_err_set(err, -EINVAL,
				   "a pool is wanted here, not a volume");
	rest++;
	length = strcspn(rest, "@:");
	r = parse_volume(rest, length, allow, name, err);
	rest += length;
	if (r == 0 && *rest == '@') {
		rest++;
		length = strcspn(rest, ":");
		r = parse_snap(rest, length, allow, name, err);
		rest += length;
	}
	if (r < 0 || !*rest)
		return r;
	if (!(allow & CFS_NAME_PATH))
		return cfs_err_set(err, -EINVAL, "no path can be named here");
	if (rest[1] != '/')
		return cfs_err_set(err, -EINVAL,
				   "the path does not begin with '/'");
	return copy(rest + 1, strlen(rest + 1), &name->path, err);
}

/* All parts of @need are there. */
static int check_need(const struct cfs_name *name, unsigned int need,
		      struct cfs_err *err)
{
	if ((need & CFS_NAME_VOLUME) && !name->volume)
		return cfs_err_set(err, -EINVAL,
				   "no volume is named: POOL:VOLUME");
	if ((need & CFS_NAME_CLONE) && !name->clone)
		return cfs_err_set(err, -EINVAL,
				   "no clone is named: POOL:NAME/CLONE");
	if ((need & CFS_NAME_SNAP) && !name->snap)
		return cfs_err_set(err, -EINVAL,
				   "no snapshot is named: POOL:VOLUME@SNAP");
	if ((need & CFS_NAME_PATH) && !name->path)
		return cfs_err_set(err, -EINVAL,
				   "no path is named: POOL:VOLUME:/path");
	return 0;
}

int cfs_name_parse(const char *text, unsigned int need, unsigned int allow,
		   const char *env_pool, struct cfs_name *ret,
		   struct cfs_err *err)
{
	struct cfs_name name = CFS_NAME_INIT;
	const char *rest;
	int r;

	r = parse_pool(text, env_pool, &name, &rest, err);
	if (r == 0)
		r = parse_rest(rest, need | allow, &name, err);
	if (r == 0)
		r = check_need(&name, need, err);
	if (r < 0) {
		cfs_name_done(&name);
		return r;
	}
	*ret = name;
	return 0;
}
