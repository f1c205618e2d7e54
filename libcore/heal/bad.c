/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "heal/bad_priv.h"

#include "tree/repair.h"

static struct cfs_key bad_key(uint64_t vaddr)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_BAD, 0), vaddr,
				   0 } };
}

/* Is it in use, and with the identity that it had when it was found? */
static int look_up(struct cfs_container *c, struct bad_entry *b,
		   struct cfs_err *err)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);
	uint32_t block = cfs_vaddr_block(b->vaddr), index;
	uint64_t used[2];
	struct cfs_tag tag;
	int r;

	if (!cfs_geometry_is_data(geo, block))
		return 0;
	r = cfs_repair_used(c, cfs_vaddr_lslice(b->vaddr),
			    cfs_geometry_group(geo, block), used, err);
	if (r < 0)
		return r;
	index = cfs_geometry_index(geo, block);
	b->is_free = !(used[index / 64] >> (index % 64) & 1);
	if (b->is_free)
		return 0;
	if (cfs_block_tag(cfs_container_blocks(c), b->vaddr, &tag, NULL) < 0) {
		b->is_current = true; /* nothing says that it became another */
		return 0;
	}
	b->is_current =
		cfs_tag_is_free(&b->rec.tag) ||
		(tag.type == b->rec.tag.type && tag.ino == b->rec.tag.ino &&
		 tag.offset == b->rec.tag.offset &&
		 tag.stamp == b->rec.tag.stamp && tag.seq == b->rec.tag.seq &&
		 tag.branch == b->rec.tag.branch);
	return 0;
}

int cfs_bad_load(struct cfs_container *c, struct bad_list *ret,
		 struct cfs_err *err)
{
	const struct cfs_key from = bad_key(0);
	struct cfs_cursor cur;
	int r;

	cfs_container_lock(c);
	r = cfs_cursor_ge(&cur, cfs_container_tree(c, CFS_TREE_TABLE), &from,
			  err);
	while (r == 0 && cur.key.w[0] == from.w[0]) {
		struct bad_entry b = { .vaddr = cur.key.w[1] };

		r = cfs_bad_rec_unpack(cur.value, cur.value_bytes, &b.rec, err);
		if (r == 0)
			r = look_up(c, &b, err);
		if (r == 0 && cfs_vec_push(ret, b) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	cfs_container_unlock(c);
	return r == -ENOENT ? 0 : r;
}

int cfs_bad_put(struct cfs_container *c, uint64_t vaddr,
		const struct cfs_bad_rec *rec, struct cfs_err *err)
{
	const struct cfs_key key = bad_key(vaddr);
	struct cfs_bad_rec_disk disk;

	cfs_bad_rec_pack(rec, &disk);
	return cfs_container_put(c, &key, &disk, sizeof(disk), err);
}

int cfs_bad_del(struct cfs_container *c, uint64_t vaddr, struct cfs_err *err)
{
	const struct cfs_key key = bad_key(vaddr);
	int r = cfs_container_del(c, &key, err);

	return r == -ENOENT ? 0 : r;
}

static struct cfs_key scrub_key(void)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_SCRUB, 0), 0, 0 } };
}

int cfs_scrub_rec_get(struct cfs_container *c, struct cfs_scrub_rec *ret,
		      struct cfs_err *err)
{
	const struct cfs_key key = scrub_key();
	struct cfs_scrub_rec_disk disk;
	size_t bytes = 0;
	int r;

	*ret = (struct cfs_scrub_rec){ .started_ns = 0 };
	cfs_container_lock(c);
	r = cfs_container_get(c, &key, &disk, sizeof(disk), &bytes, err);
	cfs_container_unlock(c);
	if (r == 0)
		r = cfs_scrub_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)),
					 ret, err);
	return r == -ENOENT ? 0 : r;
}

int cfs_scrub_rec_set(struct cfs_container *c, const struct cfs_scrub_rec *rec,
		      struct cfs_err *err)
{
	const struct cfs_key key = scrub_key();
	struct cfs_scrub_rec_disk disk;
	int r = cfs_op_begin(c, CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	cfs_scrub_rec_pack(rec, &disk);
	r = cfs_container_put(c, &key, &disk, sizeof(disk), err);
	if (r < 0) {
		cfs_op_abort(c);
		return r;
	}
	cfs_op_end(c);
	return cfs_container_sync(c, err);
}
