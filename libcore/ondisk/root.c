/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Roots.  What a root names is verified when it is read (nodes by their
 * checksum, frames by their chain); here only what would make a reader run
 * over an array or loop is refused.
 */
#include "ondisk/root.h"

#include "ondisk/field_priv.h"
#include "ondisk/label.h"
#include "ondisk/node.h"
#include "ondisk/tag.h"

void cfs_node_ref_pack(const struct cfs_node_ref *ref,
		       struct cfs_node_ref_disk *disk)
{
	disk->vaddr[0] = le64_put(ref->vaddr[0]);
	disk->vaddr[1] = le64_put(ref->vaddr[1]);
	disk->csum = le64_put(ref->csum);
	disk->stamp_seq = cfs_field_48_16(ref->stamp, 0);
}

void cfs_node_ref_unpack(const struct cfs_node_ref_disk *disk,
			 struct cfs_node_ref *ret)
{
	ret->vaddr[0] = le64_get(disk->vaddr[0]);
	ret->vaddr[1] = le64_get(disk->vaddr[1]);
	ret->csum = le64_get(disk->csum);
	ret->stamp = le64_get(disk->stamp_seq) >> 16;
}

void cfs_piece_pack(const struct cfs_piece *piece, struct cfs_piece_disk *disk)
{
	disk->device_index = le16_put(piece->device_index);
	disk->flags = le16_put(piece->flags);
	disk->slice_index = le32_put(piece->slice_index);
	disk->generation = le32_put(piece->generation);
}

void cfs_piece_unpack(const struct cfs_piece_disk *disk, struct cfs_piece *ret)
{
	ret->device_index = le16_get(disk->device_index);
	ret->flags = le16_get(disk->flags);
	ret->slice_index = le32_get(disk->slice_index);
	ret->generation = le32_get(disk->generation);
	/* Of one that is not used nothing is believed, or passed on. */
	if (!(ret->flags & CFS_PIECE_USED))
		*ret = (struct cfs_piece){ .flags = 0 };
}

static void tree_pack(const struct cfs_tree_root *tree,
		      struct cfs_tree_root_disk *disk)
{
	cfs_node_ref_pack(&tree->ref, &disk->ref);
	disk->level = le32_put(tree->level);
	disk->next_node = le64_put(tree->next_node);
	disk->record_count = le64_put(tree->record_count);
	disk->node_count = le64_put(tree->node_count);
}

void cfs_root_pack(const struct cfs_root *root, struct cfs_page_disk *disk)
{
	struct cfs_root_payload_disk *p = (void *)disk->payload;

	memset(p, 0, sizeof(*p));
	memcpy(p->container_uuid, root->container_uuid, 16);
	p->features_compat = le64_put(root->features_compat);
	p->features_ro_compat = le64_put(root->features_ro_compat);
	p->features_incompat = le64_put(root->features_incompat);
	p->stamp = le64_put(root->stamp);
	p->stamp_ceiling = le64_put(root->stamp_ceiling);
	p->next_ino = le64_put(root->next_ino);
	p->used_blocks = le64_put(root->used_blocks);
	p->log_id = le64_put(root->log_id);
	p->log_seq = le64_put(root->log_seq);
	p->log_chain = le64_put(root->log_chain);
	p->log_extent = le32_put(root->log_extent);
	p->log_block = le32_put(root->log_block);
	p->log_extent_count = le32_put(root->log_extent_count);
	p->smap_count = le32_put(root->smap_count);
	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++)
		tree_pack(&root->trees[i], &p->trees[i]);
	for (unsigned int i = 0; i < CFS_LOG_EXTENTS_MAX; i++) {
		p->log_extents[i].vaddr = le64_put(root->log_extents[i].vaddr);
		p->log_extents[i].block_count = le32_put(
			root->log_extents[i].block_count);
	}
	for (unsigned int i = 0; i < CFS_ROOT_SMAP_MAX; i++) {
		p->smap[i].lslice = le32_put((uint32_t)root->smap[i].lslice);
		for (unsigned int k = 0; k < CFS_PIECES_MAX; k++)
			cfs_piece_pack(&root->smap[i].pieces[k],
				       &p->smap[i].pieces[k]);
	}
	p->grave_vaddr[0] = le64_put(root->grave_vaddr[0]);
	p->grave_vaddr[1] = le64_put(root->grave_vaddr[1]);
	p->names_of = le64_put(root->names_of);
}

static int trees_unpack(const struct cfs_root_payload_disk *p,
			struct cfs_root *root, struct cfs_err *err)
{
	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++) {
		const struct cfs_tree_root_disk *disk = &p->trees[i];
		struct cfs_tree_root *tree = &root->trees[i];

		cfs_node_ref_unpack(&disk->ref, &tree->ref);
		tree->level = le32_get(disk->level);
		tree->next_node = le64_get(disk->next_node);
		tree->record_count = le64_get(disk->record_count);
		tree->node_count = le64_get(disk->node_count);
		if (tree->level > CFS_NODE_LEVEL_MAX)
			return cfs_err_set(err, -EUCLEAN,
					   "root: tree %u has level %u", i + 1,
					   tree->level);
		/* Far from it: a sound pool never comes even near. */
		if (tree->next_node > CFS_OFF_MAX / 2)
			return cfs_err_set(err, -EUCLEAN,
					   "root: tree %u is out of node "
					   "numbers",
					   i + 1);
	}
	return 0;
}

static int log_unpack(const struct cfs_root_payload_disk *p,
		      struct cfs_root *root, struct cfs_err *err)
{
	uint32_t count = root->log_extent_count;

	if (count > CFS_LOG_EXTENTS_MAX)
		return cfs_err_set(err, -EUCLEAN, "root: %u log extents",
				   count);
	for (uint32_t i = 0; i < count; i++) {
		struct cfs_log_extent *e = &root->log_extents[i];

		e->vaddr = le64_get(p->log_extents[i].vaddr);
		e->block_count = le32_get(p->log_extents[i].block_count);
		if (e->vaddr == CFS_VADDR_NONE || e->block_count == 0 ||
		    !cfs_range_fits(cfs_vaddr_block(e->vaddr), e->block_count,
				    UINT64_C(1) << CFS_VADDR_BLOCK_BITS))
			return cfs_err_set(err, -EUCLEAN,
					   "root: bad log extent %u", i);
	}
	if (count == 0 ? root->log_extent != 0 || root->log_block != 0
		       : root->log_extent >= count ||
				 root->log_block >
					 root->log_extents[root->log_extent]
						 .block_count)
		return cfs_err_set(err, -EUCLEAN,
				   "root: log position outside the log");
	return 0;
}

static int smap_unpack(const struct cfs_root_payload_disk *p,
		       struct cfs_root *root, struct cfs_err *err)
{
	if (root->smap_count > CFS_ROOT_SMAP_MAX)
		return cfs_err_set(err, -EUCLEAN, "root: %u slice map entries",
				   root->smap_count);
	for (uint32_t i = 0; i < root->smap_count; i++) {
		root->smap[i].lslice = le32_get(p->smap[i].lslice);
		if (root->smap[i].lslice > CFS_LSLICE_MAX)
			return cfs_err_set(err, -EUCLEAN,
					   "root: bad slice map entry %u", i);
		for (unsigned int k = 0; k < CFS_PIECES_MAX; k++)
			cfs_piece_unpack(&p->smap[i].pieces[k],
					 &root->smap[i].pieces[k]);
	}
	return 0;
}

static void words_unpack(const struct cfs_root_payload_disk *p,
			 struct cfs_root *root)
{
	*root = (struct cfs_root){
		.features_compat = le64_get(p->features_compat),
		.features_ro_compat = le64_get(p->features_ro_compat),
		.features_incompat = le64_get(p->features_incompat),
		.stamp = le64_get(p->stamp),
		.stamp_ceiling = le64_get(p->stamp_ceiling),
		.next_ino = le64_get(p->next_ino),
		.used_blocks = le64_get(p->used_blocks),
		.log_id = le64_get(p->log_id),
		.log_seq = le64_get(p->log_seq),
		.log_chain = le64_get(p->log_chain),
		.log_extent = le32_get(p->log_extent),
		.log_block = le32_get(p->log_block),
		.log_extent_count = le32_get(p->log_extent_count),
		.smap_count = le32_get(p->smap_count),
		.grave_vaddr = { le64_get(p->grave_vaddr[0]),
				 le64_get(p->grave_vaddr[1]) },
		.names_of = le64_get(p->names_of),
	};
	memcpy(root->container_uuid, p->container_uuid, 16);
}

int cfs_root_unpack(const struct cfs_page_disk *disk, struct cfs_root *ret,
		    struct cfs_err *err)
{
	const struct cfs_root_payload_disk *p = (const void *)disk->payload;
	uint64_t unknown;
	struct cfs_root root;
	int r;

	unknown = le64_get(p->features_incompat) & ~CFS_FEATURES_INCOMPAT;
	if (unknown)
		return cfs_err_set(err, -ENOTSUP,
				   "root: unknown incompatible features %#llx",
				   (unsigned long long)unknown);
	words_unpack(p, &root);
	if (root.stamp > root.stamp_ceiling ||
	    root.stamp_ceiling > CFS_STAMP_MAX || root.next_ino > CFS_INO_MAX)
		return cfs_err_set(err, -EUCLEAN,
				   "root: bad stamp, ceiling or next inode");
	r = trees_unpack(p, &root, err);
	if (r == 0)
		r = log_unpack(p, &root, err);
	if (r == 0)
		r = smap_unpack(p, &root, err);
	if (r < 0)
		return r;
	*ret = root;
	return 0;
}
