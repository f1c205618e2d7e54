/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * POSIX ACLs, as the kernel hands them on: extended attributes of a version
 * and entries.  The kernel judges by them; what is ours is that permissions and
 * ACL say the same (POSIX.1e draft 17, 23.1): a chmod changes the ACL's mask or
 * owning group, an ACL the permissions, and what is made in a directory with a
 * default ACL begins with that, cut to what was asked for.
 */
#include "cfsmount/cfsmount.h"

#include "base/le.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define VERSION    2u
#define HEAD_BYTES 4u

enum tag {
	USER_OBJ = 0x01,
	USER = 0x02,
	GROUP_OBJ = 0x04,
	GROUP = 0x08,
	MASK = 0x10,
	OTHER = 0x20,
};

struct entry {
	le16 tag, perm;
	le32 id;
};

/* What stands for the three classes; NULL: there is none. */
struct classes {
	struct entry *user, *group, *mask, *other;
	bool is_more; /* than three classes */
};

static bool sort(struct entry *e, struct classes *c)
{
	switch (le16_get(e->tag)) {
	case USER_OBJ:
		c->user = e;
		return true;
	case GROUP_OBJ:
		c->group = e;
		return true;
	case MASK:
		c->mask = e;
		c->is_more = true;
		return true;
	case OTHER:
		c->other = e;
		return true;
	case USER:
	case GROUP:
		c->is_more = true;
		return true;
	default:
		return false;
	}
}

static int find_classes(void *acl, size_t bytes, struct classes *ret)
{
	uint8_t *p = acl;
	le32 version;

	*ret = (struct classes){ .user = NULL };
	if (bytes < HEAD_BYTES ||
	    (bytes - HEAD_BYTES) % sizeof(struct entry) != 0)
		return -EINVAL;
	memcpy(&version, p, sizeof(version));
	if (le32_get(version) != VERSION)
		return -EOPNOTSUPP;
	for (size_t at = HEAD_BYTES; at < bytes; at += sizeof(struct entry)) {
		struct entry *e = (struct entry *)(void *)(p + at);

		if (le16_get(e->perm) > 7 || !sort(e, ret))
			return -EINVAL;
	}
	return ret->user && ret->group && ret->other ? 0 : -EINVAL;
}

static uint32_t perm_of(const struct entry *e)
{
	return le16_get(e->perm);
}

static uint32_t mode_of(const struct classes *c)
{
	return perm_of(c->user) << 6 |
	       perm_of(c->mask ? c->mask : c->group) << 3 | perm_of(c->other);
}

int mnt_acl_check(const void *value, size_t bytes, uint32_t *mode)
{
	uint8_t *copy = malloc(bytes ? bytes : 1);
	struct classes c;
	int r;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, value, bytes);
	r = find_classes(copy, bytes, &c);
	if (r == 0)
		*mode = (*mode & ~0777u) | mode_of(&c);
	r = r < 0 ? r : !c.is_more;
	free(copy);
	return r;
}

/* ---- inheriting ---------------------------------------------------------- */

static void cut(struct entry *e, uint32_t *mode, unsigned int shift)
{
	const uint32_t perm = perm_of(e) & (*mode >> shift & 7);

	e->perm = le16_put((uint16_t)perm);
	*mode = (*mode & ~(7u << shift)) | perm << shift;
}

static int inherit(struct mnt_acl_new *a, uint32_t *mode)
{
	struct classes c;
	int r = find_classes(a->access, a->access_bytes, &c);

	if (r < 0)
		return -EIO;
	cut(c.user, mode, 6);
	cut(c.mask ? c.mask : c.group, mode, 3);
	cut(c.other, mode, 0);
	if (!c.is_more)
		a->access_bytes = 0; /* the permissions say it all */
	return 0;
}

int mnt_acl_inherit(struct mnt_volume *v, uint64_t dir_ino, uint32_t umask,
		    uint32_t *mode, struct mnt_acl_new *ret)
{
	size_t n = 0;
	int r;

	ret->own_default = malloc(MNT_ACL_BYTES_MAX);
	if (!ret->own_default)
		return -ENOMEM;
	r = cfs_fs_xattr_get(v->fs, dir_ino, MNT_ACL_DEFAULT, ret->own_default,
			     MNT_ACL_BYTES_MAX, &n, NULL);
	if (r == -ENODATA) {
		*mode &= ~(umask & 0777);
		return 0;
	}
	if (r < 0)
		return r;
	ret->access = malloc(n ? n : 1);
	if (!ret->access)
		return -ENOMEM;
	memcpy(ret->access, ret->own_default, n);
	ret->access_bytes = n;
	ret->default_bytes = n;
	return inherit(ret, mode);
}

void mnt_acl_new_done(struct mnt_acl_new *a)
{
	free(a->access);
	free(a->own_default);
}

/* ---- chmod --------------------------------------------------------------- */

int mnt_acl_chmod(struct mnt_volume *v, uint64_t ino, uint32_t mode)
{
	uint8_t *acl;
	struct classes c;
	size_t n = 0;
	int r = cfs_fs_xattr_get(v->fs, ino, MNT_ACL_ACCESS, NULL, 0, &n, NULL);

	if (r < 0)
		return r == -ENODATA ? 0 : r;
	acl = malloc(MNT_ACL_BYTES_MAX);
	if (!acl)
		return -ENOMEM;
	r = cfs_fs_xattr_get(v->fs, ino, MNT_ACL_ACCESS, acl, MNT_ACL_BYTES_MAX,
			     &n, NULL);
	if (r == 0)
		r = find_classes(acl, n, &c);
	if (r == 0) {
		c.user->perm = le16_put((uint16_t)(mode >> 6 & 7));
		(c.mask ? c.mask : c.group)->perm = le16_put(
			(uint16_t)(mode >> 3 & 7));
		c.other->perm = le16_put((uint16_t)(mode & 7));
		r = cfs_fs_xattr_set(v->fs, ino, MNT_ACL_ACCESS, acl, n, 0,
				     NULL);
	}
	free(acl);
	return r == -ENODATA ? 0 : r;
}
