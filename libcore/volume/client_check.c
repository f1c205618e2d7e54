/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a client says it did, as far as volumes are concerned: that the branch
 * is the head of a volume, that values unpack, that nothing older takes the
 * place of something newer, nor anything that a snapshot sees.  Blocks, stamps
 * and numbers are checked below (tree/lend_check.c); whether it holds the lock
 * on what it changed is known above (the rules).
 *
 * -EPERM: a client cannot have done this and be honest.
 */
#include "ondisk/inode.h"
#include "tree/lend.h"
#include "volume/volume_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <sys/stat.h>

static int lie(struct cfs_err *err, uint64_t ino, const char *what)
{
	return cfs_err_set(err, -EPERM,
			   "a client's record of inode %" PRIu64 ": %s", ino,
			   what);
}

/* ---- the branch ---------------------------------------------------------- */

/* The head of a living volume, whose record is @ret. */
static int head_of(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		   struct branch **ret_branch, struct cfs_volume_rec *ret,
		   struct cfs_err *err)
{
	struct branch *b = cfs_branch_find(v, branch);
	struct cfs_volume_rec_disk disk;
	struct cfs_key key;
	size_t bytes;
	int r;

	if (!b || b->rec.state != CFS_OBJECT_LIVE || b->rec.end_stamp)
		return lie(err, ino, "its branch is no head");
	key = cfs_volume_key(b->rec.volume);
	r = cfs_container_get(v->c, &key, &disk, sizeof(disk), &bytes, err);
	if (r == -ENOENT)
		return lie(err, ino, "its branch is no volume's");
	if (r == 0)
		r = cfs_volume_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)),
					  ret, err);
	if (r < 0)
		return r;
	if (ret->state != CFS_OBJECT_LIVE || ret->head_branch != branch)
		return lie(err, ino, "its branch is no head");
	if (ret->kind == CFS_VOLUME_LUN && ino != ret->ino)
		return lie(err, ino, "it is not the LUN");
	*ret_branch = b;
	return 0;
}

static bool may(const struct cfs_fold_rules *rules, uint16_t branch,
		uint64_t ino, uint64_t first, uint64_t count)
{
	return !rules || !rules->may ||
	       rules->may(rules->ctx, branch, ino, first, count);
}

/* Born behind the branch's beginning and its last pin. */
static int check_birth(struct cfs_vols *v, struct branch *b, uint64_t ino,
		       uint64_t stamp, struct cfs_err *err)
{
	int r;

	if (stamp <= b->rec.created_stamp)
		return lie(err, ino, "it is older than its branch");
	r = cfs_branch_is_pinned(v, b, stamp, UINT64_MAX, err);
	if (r > 0)
		return lie(err, ino, "a snapshot would see it");
	return r;
}

/* ---- metadata ------------------------------------------------------------ */

/* The version that stands there now; -ENOENT. */
static int live_version(struct cfs_vols *v, const struct cfs_rec *rec,
			struct cfs_version *ret, struct cfs_err *err)
{
	const struct cfs_key key = { { cfs_map_word0(rec->branch, rec->ino),
				       rec->class_off, 0 } };
	uint8_t bytes[CFS_VALUE_BYTES_MAX];
	size_t n;
	int r = cfs_tree_get(cfs_container_tree(v->c, CFS_TREE_LIVE), &key,
			     bytes, sizeof(bytes), &n, err);

	if (r < 0)
		return r;
	return cfs_version_unpack(bytes, CFS_MIN(n, sizeof(bytes)), ret, err);
}

static int check_inode(struct cfs_vols *v, const struct cfs_rec *rec,
		       struct cfs_err *err)
{
	const struct cfs_view head = { v->c, rec->branch, CFS_STAMP_HEAD };
	struct cfs_inode inode;
	size_t bytes;
	int r;

	if ((rec->class_off & CFS_MAP_OFF_MASK) != 0)
		return lie(err, rec->ino, "no place of an inode");
	if (rec->flags & CFS_REC_META_DELETE)
		return 0;
	if (cfs_inode_unpack(rec->value, rec->value_bytes, &inode, NULL) < 0)
		return lie(err, rec->ino, "no inode");
	r = cfs_map_get(&head, rec->ino, CFS_MAP_INODE, 0, NULL, 0, &bytes,
			err);
	if (r == -ENOENT && !cfs_container_lends_ino(v->c, rec->ino))
		return lie(err, rec->ino, "the number is another's");
	return r == -ENOENT ? 0 : r;
}

static int check_meta_value(struct cfs_vols *v, const struct cfs_rec *rec,
			    struct cfs_err *err)
{
	const bool is_delete = rec->flags & CFS_REC_META_DELETE;
	const uint64_t offset = rec->class_off & CFS_MAP_OFF_MASK;
	struct cfs_dirent dirent;
	struct cfs_xattr xattr;

	switch (rec->class_off >> CFS_MAP_OFF_BITS) {
	case CFS_MAP_INODE:
		return check_inode(v, rec, err);
	case CFS_MAP_DIRENT:
		if (!is_delete &&
		    (cfs_dirent_unpack(rec->value, rec->value_bytes, &dirent,
				       NULL) < 0 ||
		     !cfs_container_gave_ino(v->c, dirent.ino)))
			return lie(err, rec->ino, "no entry");
		return 0;
	case CFS_MAP_XATTR:
		if (!is_delete && (offset & 255) == 0 &&
		    cfs_xattr_unpack(rec->value, rec->value_bytes, &xattr,
				     NULL) < 0)
			return lie(err, rec->ino, "no attribute");
		break;
	case CFS_MAP_SYMLINK:
		if (offset > 3)
			return lie(err, rec->ino, "no part of a symlink");
		break;
	default:
		return lie(err, rec->ino, "a class that is not logged");
	}
	if (!is_delete &&
	    (rec->value_bytes == 0 || rec->value_bytes > CFS_META_PART_BYTES))
		return lie(err, rec->ino, "a part of a wrong length");
	return 0;
}

static int check_meta(struct cfs_vols *v, const struct cfs_rec *rec,
		      const struct cfs_volume_rec *vol, struct cfs_err *err)
{
	struct cfs_version version = { .stamp = 0 };
	int r;

	if (vol->kind != CFS_VOLUME_TREE)
		return lie(err, rec->ino, "a LUN has no such thing");
	if ((rec->flags & ~CFS_REC_META_DELETE) || rec->seq)
		return lie(err, rec->ino, "its head");
	r = check_meta_value(v, rec, err);
	if (r == 0)
		r = live_version(v, rec, &version, err);
	if (r == -ENOENT)
		return 0;
	if (r == 0 && version.stamp > rec->stamp)
		return lie(err, rec->ino, "what stands there is newer");
	return r;
}

/* ---- data ---------------------------------------------------------------- */

/* All that stands in the range is older. */
static int check_newer(struct cfs_vols *v, const struct cfs_rec *rec,
		       struct cfs_err *err)
{
	uint64_t at = rec->offset, end = rec->offset + rec->count;
	struct extent e;
	int r = 0;

	while (at < end &&
	       (r = cfs_extent_at(v, rec->branch, rec->ino, at, &e, err)) ==
		       0 &&
	       e.offset < end) {
		if (e.stamp > rec->stamp ||
		    (e.stamp == rec->stamp && rec->type == CFS_REC_EXTENT &&
		     e.seq >= rec->seq))
			return lie(err, rec->ino, "what stands there is newer");
		at = e.offset + e.count;
	}
	return r == -ENOENT ? 0 : r;
}

/* Data is of a LUN, within it, or of a file. */
static int check_target(struct cfs_vols *v, const struct cfs_rec *rec,
			const struct cfs_volume_rec *vol, struct cfs_err *err)
{
	const struct cfs_view head = { v->c, rec->branch, CFS_STAMP_HEAD };
	uint8_t buf[sizeof(struct cfs_inode_disk)];
	struct cfs_inode inode = { .mode = 0 };
	size_t bytes;
	int r;

	if (vol->kind == CFS_VOLUME_LUN)
		return rec->offset + rec->count <= cfs_div_up(vol->size_bytes,
							      CFS_BLOCK_BYTES)
			       ? 0
			       : lie(err, rec->ino,
				     "it is behind the LUN's end");
	r = cfs_map_get(&head, rec->ino, CFS_MAP_INODE, 0, buf, sizeof(buf),
			&bytes, err);
	if (r == -ENOENT)
		return lie(err, rec->ino, "data of no file");
	if (r == 0)
		r = cfs_inode_unpack(buf, CFS_MIN(bytes, sizeof(buf)), &inode,
				     err);
	if (r == 0 && !S_ISREG(inode.mode))
		return lie(err, rec->ino, "data of no file");
	return r;
}

static int check_data(struct cfs_vols *v, const struct cfs_rec *rec,
		      const struct cfs_volume_rec *vol, struct cfs_err *err)
{
	int r = 0;

	if (rec->type == CFS_REC_PUNCH
		    ? (rec->flags & ~CFS_REC_PUNCH_WHITEOUT) || rec->seq
		    : rec->flags)
		return lie(err, rec->ino, "its head");
	if (rec->type != CFS_REC_PUNCH)
		r = check_target(v, rec, vol, err);
	return r == 0 ? check_newer(v, rec, err) : r;
}

/* ---- small tables -------------------------------------------------------- */

static int check_tombstone(struct cfs_vols *v, const struct cfs_rec *rec,
			   struct branch *b, const struct cfs_fold_rules *rules,
			   struct cfs_err *err)
{
	const uint64_t ino = rec->key[1];
	const uint64_t offset = cfs_tombstone_offset(rec->key[2]);
	struct cfs_tombstone_rec tombstone;

	if (rec->type == CFS_REC_DEL)
		return may(rules, b->id, ino, offset, 1)
			       ? 0
			       : lie(err, ino, "it may not change that");
	if (cfs_tombstone_rec_unpack(rec->value, rec->value_bytes, &tombstone,
				     NULL) < 0 ||
	    tombstone.count > CFS_OFF_MAX + 1 - offset ||
	    tombstone.seq != UINT16_MAX ||
	    !cfs_container_lends_stamp(v->c, tombstone.stamp))
		return lie(err, ino, "no tombstone");
	if (!may(rules, b->id, ino, offset, tombstone.count))
		return lie(err, ino, "it may not change that");
	return check_birth(v, b, ino, tombstone.stamp, err);
}

static int check_table(struct cfs_vols *v, const struct cfs_rec *rec,
		       const struct cfs_fold_rules *rules, struct cfs_err *err)
{
	const uint64_t low = rec->key[0] & ((UINT64_C(1) << 56) - 1);
	const uint64_t ino = rec->key[1];
	struct cfs_orphan_rec orphan;
	struct cfs_volume_rec vol = { .kind = 0 };
	struct branch *b = NULL;
	int r;

	if (rec->flags || low > UINT16_MAX || ino == 0 || ino > CFS_INO_MAX ||
	    !cfs_container_gave_ino(v->c, ino))
		return lie(err, ino, "its key");
	r = head_of(v, (uint16_t)low, ino, &b, &vol, err);
	if (r != 0)
		return r;
	assert(b);
	switch (rec->key[0] >> 56) {
	case CFS_TABLE_TOMBSTONE:
		return check_tombstone(v, rec, b, rules, err);
	case CFS_TABLE_ORPHAN:
		if (vol.kind != CFS_VOLUME_TREE || rec->key[2] ||
		    (rec->type == CFS_REC_SET &&
		     cfs_orphan_rec_unpack(rec->value, rec->value_bytes,
					   &orphan, NULL) < 0))
			return lie(err, ino, "no orphan");
		return may(rules, b->id, ino, 0, 0)
			       ? 0
			       : lie(err, ino, "it may not change that");
	default:
		return lie(err, ino, "a table that is not a client's");
	}
}

int cfs_client_rec_check(struct cfs_vols *v, const struct cfs_rec *rec,
			 const struct cfs_fold_rules *rules,
			 struct cfs_err *err)
{
	const bool is_meta = rec->type == CFS_REC_META;
	struct cfs_volume_rec vol = { .kind = 0 };
	struct branch *b = NULL;
	int r;

	if (rec->type == CFS_REC_SET || rec->type == CFS_REC_DEL)
		return check_table(v, rec, rules, err);
	r = head_of(v, rec->branch, rec->ino, &b, &vol, err);
	if (r == 0 && !may(rules, rec->branch, rec->ino,
			   is_meta ? 0 : rec->offset, is_meta ? 0 : rec->count))
		r = lie(err, rec->ino, "it may not change that");
	assert(r != 0 || b);
	if (r == 0)
		r = check_birth(v, b, rec->ino, rec->stamp, err);
	if (r != 0)
		return r;
	return is_meta ? check_meta(v, rec, &vol, err)
		       : check_data(v, rec, &vol, err);
}
