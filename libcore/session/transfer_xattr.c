/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extended attributes of one entry, collected from wherever it is.  POSIX
 * ACLs are two of them, in the form that the kernel's xattr calls have:
 * version 2, then a tag, rights and an id for each entry, little-endian.
 */
#include "session/archive_api.h"
#include "session/transfer_priv.h"

#include "base/le.h"

#include <errno.h>
#include <grp.h>
#include <linux/limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define ACL_VERSION     2u
#define ACL_HEAD_BYTES  4u
#define ACL_ENTRY_BYTES 8u
#define ACL_NO_ID       UINT32_MAX

enum acl_tag {
	ACL_USER_OBJ = 0x01,
	ACL_USER = 0x02,
	ACL_GROUP_OBJ = 0x04,
	ACL_GROUP = 0x08,
	ACL_MASK = 0x10,
	ACL_OTHER = 0x20,
};

/*
 * Names and values stand in one buffer that moves while it grows; until
 * transfer_xattrs_fix the pointers are offsets.
 */
void transfer_xattrs_clear(struct transfer_xattrs *x)
{
	x->bytes.bytes = 0;
	x->list.count = 0;
}

void transfer_xattrs_donep(struct transfer_xattrs *x)
{
	cfs_buf_donep(&x->bytes);
	cfs_vec_done(&x->list);
}

static bool is_added(const struct transfer_xattrs *x, const char *name)
{
	size_t i;

	for (i = 0; i < x->list.count; i++) {
		uintptr_t at = (uintptr_t)x->list.items[i].name;

		if (strcmp((const char *)x->bytes.data + at, name) == 0)
			return true;
	}
	return false;
}

int transfer_xattrs_add(struct transfer_xattrs *x, const char *name,
			const void *value, size_t value_bytes)
{
	struct cfs_fs_xattr item = {
		.name = (const char *)(uintptr_t)x->bytes.bytes,
		.value_bytes = value_bytes,
	};

	if (is_added(x, name))
		return 0;
	if (cfs_buf_append(&x->bytes, name, strlen(name) + 1) < 0)
		return -ENOMEM;
	item.value = (const void *)(uintptr_t)x->bytes.bytes;
	if (cfs_buf_append(&x->bytes, value, value_bytes) < 0 ||
	    cfs_vec_push(&x->list, item) < 0)
		return -ENOMEM;
	return 0;
}

void transfer_xattrs_fix(struct transfer_xattrs *x)
{
	size_t i;

	for (i = 0; i < x->list.count; i++) {
		struct cfs_fs_xattr *item = &x->list.items[i];

		item->name = (const char *)x->bytes.data +
			     (uintptr_t)item->name;
		item->value = x->bytes.data + (uintptr_t)item->value;
	}
}

bool transfer_xattrs_has(const struct cfs_fs_xattr *xattrs, size_t count,
			 const char *name)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strcmp(xattrs[i].name, name) == 0)
			return true;
	return false;
}

void transfer_fd_path(int fd, char ret[TRANSFER_FD_PATH_BYTES])
{
	(void)snprintf(ret, TRANSFER_FD_PATH_BYTES, "/proc/self/fd/%d", fd);
}

/* ------------------------------------------------------------ the host */

struct host_file {
	int fd;
	bool is_path; /* O_PATH: the f*xattr calls refuse it */
	char name[TRANSFER_FD_PATH_BYTES];
};

static ssize_t host_list(const struct host_file *f, char *buf, size_t bytes)
{
	return f->is_path ? listxattr(f->name, buf, bytes)
			  : flistxattr(f->fd, buf, bytes);
}

static ssize_t host_get(const struct host_file *f, const char *name, void *buf,
			size_t bytes)
{
	return f->is_path ? getxattr(f->name, name, buf, bytes)
			  : fgetxattr(f->fd, name, buf, bytes);
}

static int host_add(struct transfer_xattrs *x, const struct host_file *f,
		    const char *name, void *value, struct cfs_err *err)
{
	ssize_t n = host_get(f, name, value, CFS_XATTR_VALUE_BYTES_MAX);

	/* Gone meanwhile, or listed by a file system that does not give it. */
	if (n < 0 && (errno == ENODATA || errno == EOPNOTSUPP))
		return 0;
	if (n < 0)
		return cfs_err_errno(err, -errno, "attribute %s", name);
	if (transfer_xattrs_add(x, name, value, (size_t)n) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

int transfer_xattrs_of_fd(struct transfer_xattrs *x, int fd, bool is_path,
			  struct cfs_err *err)
{
	struct host_file f = { .fd = fd, .is_path = is_path };
	char few[1024];
	char *names = few, *more = NULL;
	void *value = NULL;
	ssize_t n, at;
	int r = 0;

	transfer_xattrs_clear(x);
	transfer_fd_path(fd, f.name);
	n = host_list(&f, few, sizeof(few));
	if (n < 0 && errno == ERANGE) {
		names = more = malloc(XATTR_LIST_MAX);
		n = more ? host_list(&f, more, XATTR_LIST_MAX) : -1;
	}
	if (n < 0 && errno == EOPNOTSUPP)
		n = 0;
	if (n < 0)
		r = cfs_err_errno(err, -errno, "list of attributes");
	if (n > 0 && !(value = malloc(CFS_XATTR_VALUE_BYTES_MAX)))
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	for (at = 0; r == 0 && at < n; at += (ssize_t)strlen(names + at) + 1)
		r = host_add(x, &f, names + at, value, err);
	free(value);
	free(more);
	transfer_xattrs_fix(x);
	return r;
}

/* ------------------------------------------------------------ the tree */

static int tree_add(struct transfer_xattrs *x, struct cfs_fs *fs, uint64_t ino,
		    const char *name, void *value, struct cfs_err *err)
{
	size_t n = 0;
	int r;

	r = cfs_fs_xattr_get(fs, ino, name, value, CFS_XATTR_VALUE_BYTES_MAX,
			     &n, err);
	if (r == -ENODATA)
		return 0;
	if (r < 0)
		return cfs_err_wrap(err, r, "attribute %s", name);
	if (transfer_xattrs_add(x, name, value, n) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

int transfer_xattrs_of_tree(struct transfer_xattrs *x, struct cfs_fs *fs,
			    uint64_t ino, struct cfs_err *err)
{
	size_t n = 0, at;
	char *names = NULL;
	void *value = NULL;
	int r;

	transfer_xattrs_clear(x);
	r = cfs_fs_xattr_list(fs, ino, NULL, 0, &n, err);
	if (r < 0 || n == 0)
		return r;
	names = malloc(CFS_FS_XATTR_LIST_BYTES_MAX);
	value = malloc(CFS_XATTR_VALUE_BYTES_MAX);
	if (!names || !value)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = cfs_fs_xattr_list(fs, ino, names,
				      CFS_FS_XATTR_LIST_BYTES_MAX, &n, err);
	for (at = 0; r == 0 && at < n; at += strlen(names + at) + 1)
		r = tree_add(x, fs, ino, names + at, value, err);
	free(names);
	free(value);
	transfer_xattrs_fix(x);
	return r;
}

/* ---------------------------------------------------------- archives */

struct acl_kind {
	int tag;         /* ours */
	int archive_tag; /* libarchive's */
};

static const struct acl_kind acl_kinds[] = {
	{ ACL_USER_OBJ, ARCHIVE_ENTRY_ACL_USER_OBJ },
	{ ACL_USER, ARCHIVE_ENTRY_ACL_USER },
	{ ACL_GROUP_OBJ, ARCHIVE_ENTRY_ACL_GROUP_OBJ },
	{ ACL_GROUP, ARCHIVE_ENTRY_ACL_GROUP },
	{ ACL_MASK, ARCHIVE_ENTRY_ACL_MASK },
	{ ACL_OTHER, ARCHIVE_ENTRY_ACL_OTHER },
};
#define ACL_KIND_COUNT (sizeof(acl_kinds) / sizeof(acl_kinds[0]))

static const struct acl_kind *acl_kind(int tag, bool is_archive)
{
	size_t i;

	for (i = 0; i < ACL_KIND_COUNT; i++)
		if (tag ==
		    (is_archive ? acl_kinds[i].archive_tag : acl_kinds[i].tag))
			return &acl_kinds[i];
	return NULL;
}

static uint32_t get16(const uint8_t *p)
{
	le16 v;

	memcpy(&v, p, sizeof(v));
	return le16_get(v);
}

static uint32_t get32(const uint8_t *p)
{
	le32 v;

	memcpy(&v, p, sizeof(v));
	return le32_get(v);
}

static void put16(uint8_t *p, uint32_t value)
{
	le16 v = le16_put((uint16_t)value);

	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t value)
{
	le32 v = le32_put(value);

	memcpy(p, &v, sizeof(v));
}

int transfer_acl_to_archive(struct archive_entry *ae, bool is_default,
			    const void *value, size_t value_bytes,
			    struct cfs_err *err)
{
	int type = is_default ? ARCHIVE_ENTRY_ACL_TYPE_DEFAULT
			      : ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
	const uint8_t *p = value;
	size_t at;

	if (value_bytes < ACL_HEAD_BYTES || get32(p) != ACL_VERSION ||
	    (value_bytes - ACL_HEAD_BYTES) % ACL_ENTRY_BYTES)
		return cfs_err_set(err, -EILSEQ, "an ACL of unknown form");
	for (at = ACL_HEAD_BYTES; at < value_bytes; at += ACL_ENTRY_BYTES) {
		const struct acl_kind *k = acl_kind((int)get16(p + at), false);
		bool has_id = k && (k->tag == ACL_USER || k->tag == ACL_GROUP);

		if (!k)
			return cfs_err_set(err, -EILSEQ,
					   "an ACL of unknown form");
		/* Bits are 4 2 1 for read, write and execute in both. */
		if (archive_entry_acl_add_entry(
			    ae, type, (int)(get16(p + at + 2) & 7),
			    k->archive_tag,
			    has_id ? (int)get32(p + at + 4) : -1,
			    NULL) != ARCHIVE_OK)
			return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

struct acl_row {
	uint32_t tag, rights, id;
};

static int acl_order(const void *a, const void *b)
{
	const struct acl_row *x = a, *y = b;

	if (x->tag != y->tag)
		return x->tag < y->tag ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* An archive may know a user by name only. */
static int acl_id(int tag, int qualifier, const char *name, uint32_t *ret)
{
	char buf[4096];
	struct passwd pw, *pwp = NULL;
	struct group gr, *grp = NULL;

	if (tag != ACL_USER && tag != ACL_GROUP) {
		*ret = ACL_NO_ID;
		return 0;
	}
	if (qualifier != -1) {
		*ret = (uint32_t)qualifier;
		return 0;
	}
	if (!name)
		return -EILSEQ;
	if (tag == ACL_USER &&
	    getpwnam_r(name, &pw, buf, sizeof(buf), &pwp) == 0 && pwp) {
		*ret = pw.pw_uid;
		return 0;
	}
	if (tag == ACL_GROUP &&
	    getgrnam_r(name, &gr, buf, sizeof(buf), &grp) == 0 && grp) {
		*ret = gr.gr_gid;
		return 0;
	}
	return -EILSEQ;
}

#define ACL_ROWS_MAX                                                           \
	((CFS_XATTR_VALUE_BYTES_MAX - ACL_HEAD_BYTES) / ACL_ENTRY_BYTES)

static int acl_store(const struct acl_row *rows, size_t count, bool is_default,
		     struct transfer_xattrs *x, struct cfs_err *err)
{
	size_t bytes = ACL_HEAD_BYTES + count * ACL_ENTRY_BYTES, i;
	uint8_t *value = malloc(bytes);
	int r = -ENOMEM;

	if (value) {
		put32(value, ACL_VERSION);
		for (i = 0; i < count; i++) {
			uint8_t *p = value + ACL_HEAD_BYTES +
				     i * ACL_ENTRY_BYTES;

			put16(p, rows[i].tag);
			put16(p + 2, rows[i].rights);
			put32(p + 4, rows[i].id);
		}
		r = transfer_xattrs_add(x,
					is_default ? TRANSFER_ACL_DEFAULT
						   : TRANSFER_ACL_ACCESS,
					value, bytes);
	}
	free(value);
	return r < 0 ? cfs_err_set(err, r, "out of memory") : 0;
}

static int acl_read(struct archive_entry *ae, bool is_default,
		    struct transfer_xattrs *x, struct cfs_err *err)
{
	int want = is_default ? ARCHIVE_ENTRY_ACL_TYPE_DEFAULT
			      : ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
	CFS_VEC(struct acl_row) rows = CFS_VEC_INIT;
	int type, rights, tag, id, r = 0;
	const char *name;

	/* Without more than the three of the mode there is no ACL. */
	if (archive_entry_acl_reset(ae, want) <= (is_default ? 0 : 3))
		return 0;
	while (r == 0 && archive_entry_acl_next(ae, want, &type, &rights, &tag,
						&id, &name) == ARCHIVE_OK) {
		const struct acl_kind *k = acl_kind(tag, true);
		struct acl_row row = { .rights = (uint32_t)rights & 7 };

		if (!k || acl_id(k->tag, id, name, &row.id) < 0) {
			r = cfs_err_set(err, -EILSEQ,
					"its ACL names somebody unknown%s%s",
					name ? ": " : "", name ? name : "");
			break;
		}
		row.tag = (uint32_t)k->tag;
		if (rows.count >= ACL_ROWS_MAX)
			r = cfs_err_set(err, -EILSEQ, "its ACL is too long");
		else if (cfs_vec_push(&rows, row) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (r == 0 && rows.count) {
		qsort(rows.items, rows.count, sizeof(rows.items[0]), acl_order);
		r = acl_store(rows.items, rows.count, is_default, x, err);
	}
	cfs_vec_done(&rows);
	return r;
}

int transfer_acl_from_archive(struct archive_entry *ae,
			      struct transfer_xattrs *x, struct cfs_err *err)
{
	int r = acl_read(ae, false, x, err);

	return r < 0 ? r : acl_read(ae, true, x, err);
}
