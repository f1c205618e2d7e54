/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What belongs to the pool: labels, the seat, the slice table against the
 * slice maps, both ways, and against the headers of the slices.
 */
#include "heal/check_priv.h"

#include "base/cleanup.h"
#include "heal/header_priv.h"
#include "ondisk/delegation.h"
#include "pool/holder.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- devices ------------------------------------------------------------- */

static void check_label(struct check *k, const struct cfs_devset *set,
			uint32_t index, struct cfs_dev *dev)
{
	const struct cfs_label *first = cfs_devset_label(set, 0);
	struct cfs_err why = CFS_ERR_INIT;
	struct cfs_label label;
	unsigned int bad = 0;

	if (cfs_label_read(dev, &label, &bad, &why) < 0) {
		cfs_check_say(k, "label",
			      "device %" PRIu32 ": no copy of the "
			      "label is good: %s",
			      index, why.msg);
		return;
	}
	if (bad)
		cfs_check_say(k, "label",
			      "device %" PRIu32 ": %u of 4 copies "
			      "of the label are bad",
			      index, bad);
	if (memcmp(label.pool_uuid, first->pool_uuid, 16) != 0 ||
	    label.device_index != index ||
	    label.slice_bytes != first->slice_bytes ||
	    label.flags != first->flags)
		cfs_check_say(k, "label",
			      "device %" PRIu32 ": the label does "
			      "not fit the pool's others",
			      index);
	if (label.size_bytes > cfs_dev_size_bytes(dev))
		cfs_check_say(k, "label",
			      "device %" PRIu32 ": it is shorter "
			      "than its label says",
			      index);
}

int cfs_check_devices(struct check *k)
{
	const struct cfs_devset *set = cfs_pool_devset(k->pool);
	struct cfs_err why = CFS_ERR_INIT;
	struct cfs_seat seat;

	for (uint32_t i = 0; i < cfs_devset_count(set); i++) {
		struct cfs_dev *dev = cfs_devset_dev(set, i);

		if (dev)
			check_label(k, set, i, dev);
		else if (!cfs_devset_is_removed(set, i))
			cfs_check_say(k, "device",
				      "device %" PRIu32 " is missing", i);
	}
	if (cfs_seat_read(set, &seat, &why) < 0)
		cfs_check_say(k, "seat", "%s", why.msg);
	k->piece_count = cfs_devset_label(set, 0)->flags & CFS_POOL_FLAG_MIRROR
				 ? 2
				 : 1;
	return 0;
}

/* ---- records of container 0 ---------------------------------------------- */

static int slice_record(struct check *k, const struct cfs_leaf_record *at,
			struct cfs_err *why)
{
	struct check_slice entry = {
		.device = (uint32_t)at->key.w[0],
		.slice = at->key.w[1],
	};
	int r = cfs_slice_rec_unpack(at->value, at->value_bytes, &entry.rec,
				     why);

	if (r < 0)
		return r;
	if (cfs_vec_push(&k->slices, entry) < 0)
		return cfs_err_set(k->err, -ENOMEM, "out of memory");
	return 0;
}

static int smap_record(struct check *k, const struct cfs_leaf_record *at,
		       struct cfs_err *why)
{
	struct check_map entry = {
		.container_id = at->key.w[0] & ((UINT64_C(1) << 56) - 1),
		.lslice = at->key.w[1],
	};
	int r = cfs_smap_rec_unpack(at->value, at->value_bytes, &entry.rec,
				    why);

	if (r < 0)
		return r;
	if (cfs_vec_push(&k->maps, entry) < 0)
		return cfs_err_set(k->err, -ENOMEM, "out of memory");
	return 0;
}

static int container_record(struct check *k, const struct cfs_leaf_record *at,
			    struct cfs_err *why)
{
	struct check_container entry = {
		.id = at->key.w[0] & ((UINT64_C(1) << 56) - 1),
	};
	int r = cfs_container_rec_unpack(at->value, at->value_bytes, &entry.rec,
					 why);

	if (r < 0)
		return r;
	if (cfs_vec_push(&k->containers, entry) < 0)
		return cfs_err_set(k->err, -ENOMEM, "out of memory");
	return 0;
}

static int device_record(struct check *k, const struct cfs_leaf_record *at,
			 struct cfs_err *why)
{
	const struct cfs_devset *set = cfs_pool_devset(k->pool);
	uint32_t index = (uint32_t)at->key.w[0];
	struct cfs_device_rec rec;
	int r = cfs_device_rec_unpack(at->value, at->value_bytes, &rec, why);

	if (r < 0 || rec.state == CFS_DEVICE_REMOVED)
		return r;
	if (index >= cfs_devset_count(set))
		cfs_check_say(k, "device",
			      "the tables have a device %" PRIu32
			      " that no label knows",
			      index);
	else if (cfs_devset_dev(set, index) &&
		 (memcmp(cfs_devset_label(set, index)->device_uuid, rec.uuid,
			 16) != 0 ||
		  cfs_devset_slice_count(set, index) < rec.slice_count))
		cfs_check_say(k, "device",
			      "device %" PRIu32 ": label and "
			      "table do not say the same",
			      index);
	return 0;
}

static bool container_exists(const struct check *k, uint64_t id)
{
	for (size_t i = 0; i < k->containers.count; i++)
		if (k->containers.items[i].id == id)
			return true;
	return id == 0;
}

/* One that is left is undone when its container is opened. */
static int snapset_record(struct check *k, const struct cfs_leaf_record *at,
			  struct cfs_err *why)
{
	uint64_t id = at->key.w[0] & ((UINT64_C(1) << 56) - 1);
	struct cfs_snapset_rec rec;
	int r = cfs_snapset_rec_unpack(at->value, at->value_bytes, &rec, why);

	if (r == 0 &&
	    (id == 0 || at->key.w[1] == 0 || at->key.w[1] > UINT16_MAX ||
	     at->key.w[2] > CFS_STAMP_MAX))
		r = cfs_err_set(why, -EUCLEAN, "no snapshot can be there");
	/* Containers come first in the order of keys. */
	if (r == 0 && !k->has_lost_nodes && !container_exists(k, id))
		cfs_check_say(k, "snapshot",
			      "a set of snapshots has one of "
			      "container %" PRIu64 ", which does not exist",
			      id);
	return r;
}

static int delegation_record(struct check *k, const struct cfs_leaf_record *at,
			     struct cfs_err *why)
{
	const uint64_t id = at->key.w[0] & ((UINT64_C(1) << 56) - 1);
	struct cfs_delegation_rec rec;
	int r = cfs_delegation_rec_unpack(at->value, at->value_bytes, &rec,
					  why);

	if (r == 0 && (id == 0 || at->key.w[1] > UINT32_MAX ||
		       !cfs_epoch_is_delegated((uint32_t)at->key.w[1])))
		r = cfs_err_set(why, -EUCLEAN, "no delegation can be there");
	/* Containers come first in the order of keys. */
	if (r == 0 && !k->has_lost_nodes && !container_exists(k, id))
		cfs_check_say(k, "delegation",
			      "container %" PRIu64 " is "
			      "delegated, and does not exist",
			      id);
	return r;
}

int cfs_check_pool_record(struct check *k, const struct cfs_leaf_record *rec)
{
	struct cfs_err why = CFS_ERR_INIT;
	struct cfs_pool_rec pool;
	int r;

	switch (rec->key.w[0] >> 56) {
	case CFS_TABLE_POOL:
		r = cfs_pool_rec_unpack(rec->value, rec->value_bytes, &pool,
					&why);
		break;
	case CFS_TABLE_DEVICE:
		r = device_record(k, rec, &why);
		break;
	case CFS_TABLE_SLICE:
		r = slice_record(k, rec, &why);
		break;
	case CFS_TABLE_SMAP:
		r = smap_record(k, rec, &why);
		break;
	case CFS_TABLE_CONTAINER:
		r = container_record(k, rec, &why);
		break;
	case CFS_TABLE_SNAPSET:
		r = snapset_record(k, rec, &why);
		break;
	case CFS_TABLE_DELEGATION:
		r = delegation_record(k, rec, &why);
		break;
	default:
		r = cfs_err_set(&why, -EUCLEAN, "a class of another container");
		break;
	}
	if (r < 0 && r != -ENOMEM) {
		cfs_check_say(k, "record", "table record %#" PRIx64 ": %s",
			      rec->key.w[0], why.msg);
		r = 0;
	}
	return r;
}

/* ---- table against maps -------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
	const struct check_slice *x = a, *y = b;

	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	return (x->slice > y->slice) - (x->slice < y->slice);
}

static void check_piece(struct check *k, const struct check_map *map,
			unsigned int piece)
{
	const struct cfs_piece *p = &map->rec.pieces[piece];
	const struct check_slice key = {
		.device = p->device_index,
		.slice = p->slice_index,
	};
	struct check_slice *s = NULL;

	if (k->slices.count > 0)
		s = bsearch(&key, k->slices.items, k->slices.count, sizeof(key),
			    by_place);
	if (!s) {
		cfs_check_say(k, "slice",
			      "slice %" PRIu64 " of container %" PRIu64
			      ": the slice table does not have it",
			      map->lslice, map->container_id);
		return;
	}
	if (s->is_mapped)
		cfs_check_say(k, "slice",
			      "slice %" PRIu64 " of device %" PRIu32
			      " is mapped twice",
			      s->slice, s->device);
	s->is_mapped = true;
	if ((s->rec.use != CFS_SLICE_USE_OWNED &&
	     s->rec.use != CFS_SLICE_USE_FROZEN) ||
	    s->rec.container_id != map->container_id ||
	    s->rec.lslice != map->lslice || s->rec.piece != piece ||
	    s->rec.generation != p->generation)
		cfs_check_say(k, "slice",
			      "slice %" PRIu64 " of device %" PRIu32
			      ": table and map of container %" PRIu64
			      " do not say the same",
			      s->slice, s->device, map->container_id);
}

static void check_map(struct check *k, const struct check_map *map)
{
	const struct cfs_piece *p = map->rec.pieces;
	unsigned int used = 0;

	if (!container_exists(k, map->container_id))
		cfs_check_say(k, "slice",
			      "slice %" PRIu64 " is mapped for "
			      "container %" PRIu64 ", which does not exist",
			      map->lslice, map->container_id);
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		if (!(p[i].flags & CFS_PIECE_USED))
			continue;
		used++;
		check_piece(k, map, i);
		for (unsigned int j = 0; j < i; j++)
			if ((p[j].flags & CFS_PIECE_USED) &&
			    p[j].device_index == p[i].device_index)
				cfs_check_say(k, "slice",
					      "slice %" PRIu64
					      " of container %" PRIu64
					      ": two pieces"
					      " on one device",
					      map->lslice, map->container_id);
	}
	if (used == 0)
		cfs_check_say(k, "slice",
			      "slice %" PRIu64 " of container %" PRIu64
			      " has no piece",
			      map->lslice, map->container_id);
}

static const uint8_t *uuid_of(const struct check *k, uint64_t id)
{
	if (id == 0)
		return cfs_devset_label(cfs_pool_devset(k->pool), 0)->pool_uuid;
	for (size_t i = 0; i < k->containers.count; i++)
		if (k->containers.items[i].id == id)
			return k->containers.items[i].rec.uuid;
	return NULL;
}

static void check_owned(struct check *k, const struct check_slice *s)
{
	const struct cfs_devset *set = cfs_pool_devset(k->pool);
	const uint8_t *uuid = uuid_of(k, s->rec.container_id);
	struct header_place place = {
		.device = s->device,
		.slice = s->slice,
		.generation = s->rec.generation,
	};
	struct cfs_slice_header h;
	struct cfs_err why = CFS_ERR_INIT;

	if (!s->is_mapped) {
		cfs_check_say(k, "slice",
			      "slice %" PRIu64 " of device %" PRIu32
			      " is lent to container %" PRIu64
			      ", which does not map it",
			      s->slice, s->device, s->rec.container_id);
		return;
	}
	if (s->device >= cfs_devset_count(set) ||
	    !cfs_devset_dev(set, s->device) || !uuid)
		return;
	if (cfs_header_read(set, &place, s->rec.container_id, &h, &why) < 0)
		cfs_check_say(k, "slice",
			      "slice %" PRIu64 " of device %" PRIu32
			      ": its header is bad: %s",
			      s->slice, s->device, why.msg);
	else if (h.state != CFS_SLICE_OWNED ||
		 h.container_id != s->rec.container_id ||
		 h.lslice != s->rec.lslice || h.piece != s->rec.piece ||
		 memcmp(h.container_uuid, uuid, 16) != 0)
		cfs_check_say(k, "slice",
			      "slice %" PRIu64 " of device %" PRIu32
			      ": header and table do not say the same",
			      s->slice, s->device);
}

/* The map of container 0 in its root, and the records about it. */
static void check_own_map(struct check *k)
{
	const struct cfs_metavolume *mv = cfs_container_metavolume(
		cfs_pool_container0(k->pool));
	uint64_t n = 0;

	for (size_t i = 0; i < k->maps.count; i++) {
		const struct check_map *map = &k->maps.items[i];
		struct cfs_piece pieces[CFS_PIECES_MAX];

		if (map->container_id != 0)
			continue;
		n++;
		if (!cfs_metavolume_get(mv, map->lslice, pieces) ||
		    memcmp(pieces, map->rec.pieces, sizeof(pieces)) != 0)
			cfs_check_say(k, "slice",
				      "slice %" PRIu64 " of the "
				      "pool's own container: root and table do"
				      " not say the same",
				      map->lslice);
	}
	if (n != cfs_metavolume_slice_count(mv))
		cfs_check_say(k, "slice",
			      "the root maps %" PRIu64 " slices, "
			      "the tables have %" PRIu64,
			      cfs_metavolume_slice_count(mv), n);
}

int cfs_check_slices(struct check *k)
{
	const struct cfs_devset *set = cfs_pool_devset(k->pool);

	if (k->has_lost_nodes) /* half of the tables proves nothing */
		return 0;
	for (size_t i = 0; i < k->maps.count; i++)
		check_map(k, &k->maps.items[i]);
	check_own_map(k);
	for (size_t i = 0; i < k->slices.count; i++) {
		const struct check_slice *s = &k->slices.items[i];
		int r = cfs_check_stopped(k);

		if (r < 0)
			return r;
		if (s->device >= cfs_devset_count(set) ||
		    (cfs_devset_dev(set, s->device) &&
		     s->slice >= cfs_devset_slice_count(set, s->device)))
			cfs_check_say(k, "slice",
				      "slice %" PRIu64 " of device "
				      "%" PRIu32 " lies outside the pool",
				      s->slice, s->device);
		else if (s->rec.use == CFS_SLICE_USE_OWNED)
			check_owned(k, s);
		else if (s->is_mapped && s->rec.use != CFS_SLICE_USE_FROZEN)
			cfs_check_say(k, "slice",
				      "slice %" PRIu64 " of device "
				      "%" PRIu32 " is mapped, but not lent",
				      s->slice, s->device);
	}
	return 0;
}
