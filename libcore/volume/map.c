/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Versioned records other than extents: inodes, entries, attributes. */
#include "volume/vols_priv.h"

#include <assert.h>
#include <inttypes.h>

#define DEPTH_MAX 65536u /* as many as there are branch numbers */

struct meta {
	uint8_t bytes[CFS_VALUE_BYTES_MAX];
	size_t length;
	struct cfs_version version;
};

static struct cfs_key live_key(uint16_t branch, uint64_t ino,
			       enum cfs_map_class class, uint64_t offset)
{
	return (struct cfs_key){ { cfs_map_word0(branch, ino),
				   cfs_map_word1(class, offset), 0 } };
}

static int meta_parse(struct meta *m, struct cfs_err *err)
{
	if (m->length > sizeof(m->bytes))
		return cfs_err_set(err, -EUCLEAN, "map: a record is too long");
	return cfs_version_unpack(m->bytes, m->length, &m->version, err);
}

static int live_get(struct cfs_container *c, const struct cfs_key *key,
		    struct meta *m, struct cfs_err *err)
{
	int r = cfs_tree_get(cfs_container_tree(c, CFS_TREE_LIVE), key,
			     m->bytes, sizeof(m->bytes), &m->length, err);

	return r < 0 ? r : meta_parse(m, err);
}

/* The version of @key that lived at @stamp, from the history. */
static int history_get(struct cfs_container *c, const struct cfs_key *key,
		       uint64_t stamp, struct meta *m, struct cfs_err *err)
{
	struct cfs_key from = { { key->w[0], key->w[1],
				  cfs_map_version_word(stamp, 0xffff) } };
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, cfs_container_tree(c, CFS_TREE_HISTORY),
			      &from, err);

	if (r < 0)
		return r;
	if (cur.key.w[0] != key->w[0] || cur.key.w[1] != key->w[1])
		return -ENOENT;
	m->length = cur.value_bytes;
	memcpy(m->bytes, cur.value, CFS_MIN(m->length, sizeof(m->bytes)));
	r = meta_parse(m, err);
	if (r < 0)
		return r;
	return m->version.death > stamp ? 0 : -ENOENT;
}

/* What one branch itself says of @key at @stamp; whiteouts too. */
static int branch_get(struct cfs_container *c, const struct cfs_key *key,
		      uint64_t stamp, struct meta *m, struct cfs_err *err)
{
	int r = live_get(c, key, m, err);

	if (r == 0 && m->version.stamp <= stamp)
		return 0;
	if (r < 0 && r != -ENOENT)
		return r;
	if (stamp == CFS_STAMP_HEAD)
		return -ENOENT;
	return history_get(c, key, stamp, m, err);
}

static int view_get(const struct cfs_view *view, uint64_t ino,
		    enum cfs_map_class class, uint64_t offset, struct meta *m,
		    struct cfs_err *err)
{
	struct cfs_vols *v = cfs_vols_of(view->container);
	struct cfs_view at = *view;

	for (unsigned int depth = 0; depth < DEPTH_MAX; depth++) {
		struct cfs_key key = live_key(at.branch, ino, class, offset);
		int r = branch_get(at.container, &key, at.stamp, m, err);

		if (r == 0)
			return m->version.flags & CFS_VERSION_WHITEOUT ? -ENOENT
								       : 0;
		if (r != -ENOENT)
			return r;
		if (!cfs_branch_parent_view(v, &at, &at))
			return -ENOENT;
	}
	return cfs_err_set(err, -EUCLEAN, "branches: a circle");
}

static void copy_out(const struct meta *m, void *buf, size_t buf_bytes,
		     size_t *ret_bytes)
{
	size_t length = m->length - sizeof(struct cfs_version_disk);

	if (buf_bytes)
		memcpy(buf, m->bytes + sizeof(struct cfs_version_disk),
		       CFS_MIN(length, buf_bytes));
	if (ret_bytes)
		*ret_bytes = length;
}

int cfs_map_get(const struct cfs_view *view, uint64_t ino,
		enum cfs_map_class class, uint64_t offset, void *buf,
		size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err)
{
	struct meta m;
	int r = view_get(view, ino, class, offset, &m, err);

	if (r == 0)
		copy_out(&m, buf, buf_bytes, ret_bytes);
	return r;
}

/*
 * The lowest key >= @from within [w0, word1 <= last] of one tree, as a word 1.
 */
static int next_word1(struct cfs_tree *tree, const struct cfs_key *from,
		      uint64_t last, uint64_t *ret, struct cfs_err *err)
{
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, tree, from, err);

	if (r < 0)
		return r;
	if (cur.key.w[0] != from->w[0] || cur.key.w[1] > last)
		return -ENOENT;
	*ret = CFS_MIN(*ret, cur.key.w[1]);
	return 0;
}

int cfs_map_next(const struct cfs_view *view, uint64_t ino,
		 enum cfs_map_class class, uint64_t *offset, void *buf,
		 size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err)
{
	struct cfs_vols *v = cfs_vols_of(view->container);
	uint64_t last = cfs_map_word1(class, CFS_MAP_OFF_MASK);
	uint64_t at = cfs_map_word1(class, *offset);

	for (;;) {
		struct cfs_view level = *view;
		uint64_t found = UINT64_MAX;
		struct meta m;
		int r;

		do {
			struct cfs_key from = {
				{ cfs_map_word0(level.branch, ino), at, 0 }
			};

			r = next_word1(cfs_container_tree(level.container,
							  CFS_TREE_LIVE),
				       &from, last, &found, err);
			if ((r == 0 || r == -ENOENT) &&
			    level.stamp != CFS_STAMP_HEAD)
				r = next_word1(
					cfs_container_tree(level.container,
							   CFS_TREE_HISTORY),
					&from, last, &found, err);
			if (r < 0 && r != -ENOENT)
				return r;
		} while (cfs_branch_parent_view(v, &level, &level));
		if (found == UINT64_MAX)
			return -ENOENT;
		r = view_get(view, ino, class, found & CFS_MAP_OFF_MASK, &m,
			     err);
		if (r == 0) {
			*offset = found & CFS_MAP_OFF_MASK;
			copy_out(&m, buf, buf_bytes, ret_bytes);
			return 0;
		}
		if (r != -ENOENT)
			return r;
		if (found == last)
			return -ENOENT;
		at = found + 1;
	}
}

/* The lowest inode >= @ino with an INODE record in one tree of one branch. */
static int next_inode_in(struct cfs_tree *tree, uint16_t branch, uint64_t ino,
			 uint64_t *ret, struct cfs_err *err)
{
	const uint64_t want = cfs_map_word1(CFS_MAP_INODE, 0);

	for (;;) {
		struct cfs_key from = { { cfs_map_word0(branch, ino), want,
					  0 } };
		struct cfs_cursor cur;
		int r = cfs_cursor_ge(&cur, tree, &from, err);

		if (r < 0)
			return r;
		if (cur.key.w[0] >> 48 != branch)
			return -ENOENT;
		ino = cur.key.w[0] & CFS_INO_MAX;
		if (cur.key.w[1] == want) {
			*ret = CFS_MIN(*ret, ino);
			return 0;
		}
		/* Records of other classes stand behind the inode's place. */
		if (ino == CFS_INO_MAX)
			return -ENOENT;
		ino++;
	}
}

int cfs_map_next_inode(const struct cfs_view *view, uint64_t *ino,
		       struct cfs_err *err)
{
	struct cfs_vols *v = cfs_vols_of(view->container);
	uint64_t at = *ino;

	for (;;) {
		struct cfs_view level = *view;
		uint64_t found = UINT64_MAX;
		struct meta m;
		int r;

		do {
			r = next_inode_in(cfs_container_tree(level.container,
							     CFS_TREE_LIVE),
					  level.branch, at, &found, err);
			if ((r == 0 || r == -ENOENT) &&
			    level.stamp != CFS_STAMP_HEAD)
				r = next_inode_in(
					cfs_container_tree(level.container,
							   CFS_TREE_HISTORY),
					level.branch, at, &found, err);
			if (r < 0 && r != -ENOENT)
				return r;
		} while (cfs_branch_parent_view(v, &level, &level));
		if (found == UINT64_MAX)
			return -ENOENT;
		r = view_get(view, found, CFS_MAP_INODE, 0, &m, err);
		if (r == 0) {
			*ino = found;
			return 0;
		}
		if (r != -ENOENT)
			return r;
		at = found + 1;
	}
}

/* ---- changing ------------------------------------------------------------ */

/* The version in @old dies at @death: kept if a pin sees it. */
static int retire(struct cfs_vols *v, struct branch *b,
		  const struct cfs_key *key, struct meta *old, uint64_t death,
		  struct cfs_err *err)
{
	struct cfs_key to = { { key->w[0], key->w[1],
				cfs_map_version_word(old->version.stamp,
						     old->version.seq) } };
	int r = cfs_branch_is_pinned(v, b, old->version.stamp, death, err);

	if (r <= 0)
		return r;
	old->version.death = death;
	cfs_version_pack(&old->version, (void *)old->bytes);
	return cfs_container_tree_set(v->c, CFS_TREE_HISTORY, &to, old->bytes,
				      old->length, err);
}

static int put_version(struct cfs_vols *v, uint16_t branch,
		       const struct cfs_key *key, uint64_t stamp,
		       const void *value, size_t value_bytes,
		       struct cfs_err *err)
{
	struct cfs_version version = { .stamp = stamp };
	struct meta m;
	struct branch *b;
	int r = cfs_branch_get(v, branch, &b, err);

	if (r < 0)
		return r;
	assert(value_bytes + sizeof(struct cfs_version_disk) <=
	       sizeof(m.bytes));
	assert(value || !value_bytes);
	r = live_get(v->c, key, &m, err);
	if (r == 0)
		r = retire(v, b, key, &m, stamp, err);
	else if (r == -ENOENT)
		r = value ? 0 : 1; /* 1: nothing of our own to delete */
	if (r < 0)
		return r;
	if (!value && !b->rec.parent) {
		if (r == 1)
			return 0;
		return cfs_container_tree_remove(v->c, CFS_TREE_LIVE, key, err);
	}
	if (!value)
		version.flags = CFS_VERSION_WHITEOUT;
	cfs_version_pack(&version, (void *)m.bytes);
	if (value_bytes)
		memcpy(m.bytes + sizeof(struct cfs_version_disk), value,
		       value_bytes);
	return cfs_container_tree_set(
		v->c, CFS_TREE_LIVE, key, m.bytes,
		sizeof(struct cfs_version_disk) + value_bytes, err);
}

static int log_meta(struct cfs_container *c, uint16_t branch, uint64_t ino,
		    enum cfs_map_class class, uint64_t offset,
		    const void *value, size_t value_bytes, struct cfs_err *err)
{
	struct cfs_rec rec = {
		.type = CFS_REC_META,
		.branch = branch,
		.ino = ino,
		.class_off = cfs_map_word1(class, offset),
		.stamp = cfs_container_stamp(c),
		.value = value,
		.value_bytes = (uint32_t)value_bytes,
	};

	if (!value)
		rec.flags = CFS_REC_META_DELETE;
	return cfs_container_log(c, &rec, NULL, err);
}

int cfs_map_put(struct cfs_container *c, uint16_t branch, uint64_t ino,
		enum cfs_map_class class, uint64_t offset, const void *value,
		size_t value_bytes, struct cfs_err *err)
{
	struct cfs_key key = live_key(branch, ino, class, offset);
	int r = put_version(cfs_vols_of(c), branch, &key,
			    cfs_container_stamp(c), value, value_bytes, err);

	if (r == 0)
		r = log_meta(c, branch, ino, class, offset, value, value_bytes,
			     err);
	return r;
}

int cfs_map_del(struct cfs_container *c, uint16_t branch, uint64_t ino,
		enum cfs_map_class class, uint64_t offset, struct cfs_err *err)
{
	const struct cfs_view head = { c, branch, CFS_STAMP_HEAD };
	struct cfs_key key = live_key(branch, ino, class, offset);
	struct meta m;
	int r = view_get(&head, ino, class, offset, &m, err);

	if (r < 0)
		return r;
	r = put_version(cfs_vols_of(c), branch, &key, cfs_container_stamp(c),
			NULL, 0, err);
	if (r == 0)
		r = log_meta(c, branch, ino, class, offset, NULL, 0, err);
	return r;
}

int cfs_map_replay(struct cfs_vols *v, const struct cfs_rec *rec,
		   struct cfs_err *err)
{
	struct cfs_key key = { { cfs_map_word0(rec->branch, rec->ino),
				 rec->class_off, 0 } };
	const bool is_delete = rec->flags & CFS_REC_META_DELETE;

	if (rec->class_off >> CFS_MAP_OFF_BITS == CFS_MAP_EXTENT ||
	    (is_delete && rec->value_bytes) ||
	    rec->value_bytes >
		    CFS_VALUE_BYTES_MAX - sizeof(struct cfs_version_disk))
		return cfs_err_set(err, -EUCLEAN,
				   "a record of inode %" PRIu64
				   " makes no sense",
				   rec->ino);
	return put_version(v, rec->branch, &key, rec->stamp,
			   is_delete ? NULL : rec->value, rec->value_bytes,
			   err);
}
