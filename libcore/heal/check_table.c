/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The small tables of a container: records that make sense, and volumes,
 * branches and snapshots that fit each other.
 */
#include "heal/check_priv.h"

#include "base/xxh.h"
#include "ondisk/receive.h"
#include "ondisk/snapname.h"
#include "tree/lend.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static uint64_t low_of(const struct cfs_leaf_record *rec)
{
	return rec->key.w[0] & ((UINT64_C(1) << 56) - 1);
}

struct check_branch *cfs_check_branch(struct check *k, uint16_t id)
{
	size_t lo = 0, hi = k->branches.count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (k->branches.items[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < k->branches.count && k->branches.items[lo].id == id)
		return &k->branches.items[lo];
	return NULL;
}

bool cfs_check_is_pinned(const struct check_branch *b, uint64_t lo, uint64_t hi)
{
	size_t from = 0, to = b->pins.count;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (b->pins.items[mid] < lo)
			from = mid + 1;
		else
			to = mid;
	}
	return from < b->pins.count && b->pins.items[from] < hi;
}

/* ---- records ------------------------------------------------------------- */

static int volume_record(struct check *k, const struct cfs_leaf_record *at,
			 struct cfs_err *why)
{
	struct check_volume entry = { .id = low_of(at) };
	int r = cfs_volume_rec_unpack(at->value, at->value_bytes, &entry.rec,
				      why);

	if (r == 0 && cfs_vec_push(&k->volumes, entry) < 0)
		r = -ENOMEM;
	return r;
}

static int branch_record(struct check *k, const struct cfs_leaf_record *at,
			 struct cfs_err *why)
{
	struct check_branch entry = { .id = (uint16_t)low_of(at) };
	int r = cfs_branch_rec_unpack(at->value, at->value_bytes, &entry.rec,
				      why);

	if (r == 0 && low_of(at) != entry.id)
		r = cfs_err_set(why, -EUCLEAN, "no number of a branch");
	if (r == 0 && cfs_vec_push(&k->branches, entry) < 0)
		r = -ENOMEM;
	return r;
}

static int snapshot_record(struct check *k, const struct cfs_leaf_record *at,
			   struct cfs_err *why)
{
	struct cfs_snapshot_rec rec;
	int r = cfs_snapshot_rec_unpack(at->value, at->value_bytes, &rec, why);
	struct check_snapshot entry = {
		.branch = (uint16_t)low_of(at),
		.stamp = at->key.w[1],
	};

	if (r < 0)
		return r;
	entry.name_hash = cfs_xxh3(rec.name, strlen(rec.name));
	cfs_snapname_words(rec.name, strlen(rec.name), &entry.word1,
			   &entry.word2);
	if (entry.stamp > k->stamp)
		cfs_check_say(k, "snapshot",
			      "snapshot %s is newer than the "
			      "root",
			      rec.name);
	if (cfs_vec_push(&k->snapshots, entry) < 0)
		r = -ENOMEM;
	return r;
}

/* A client, in memory too, with its log and gravestone. */
static int client_record(struct check *k, const struct cfs_leaf_record *at,
			 struct cfs_err *why)
{
	struct cfs_client_rec rec;
	int r = cfs_client_rec_unpack(at->value, at->value_bytes, &rec, why);

	if (r == 0 && rec.stamp > k->stamp + 1)
		r = cfs_err_set(why, -EUCLEAN, "a client of the future");
	for (uint32_t i = 0; r == 0 && i < rec.extent_count; i++)
		r = cfs_check_own_other(k, rec.extents[i].vaddr,
					rec.extents[i].block_count, CFS_TAG_LOG,
					"a client's log");
	for (unsigned int i = 0; r == 0 && i < 2; i++)
		r = cfs_check_own_other(k, rec.grave_vaddr[i], 1, CFS_TAG_LOG,
					"a gravestone");
	return r;
}

static int loan_record(struct check *k, const struct cfs_leaf_record *at,
		       struct cfs_err *why)
{
	struct cfs_loan_rec rec;
	int r = cfs_loan_rec_unpack(at->value, at->value_bytes, &rec, why);

	if (r == 0 && rec.state == CFS_LOAN_OPEN && rec.holder == 0 &&
	    !cfs_repair_has_group(k->c, cfs_vaddr_lslice(at->key.w[1]),
				  cfs_vaddr_block(at->key.w[1])))
		cfs_check_say(k, "loan",
			      "group %#" PRIx64 " is on loan, and "
			      "nobody has it",
			      at->key.w[1]);
	if (r == 0 && rec.holder &&
	    !cfs_repair_lends_to(k->c, at->key.w[1], rec.holder))
		cfs_check_say(k, "loan",
			      "group %#" PRIx64 " is on loan to "
			      "client %" PRIu64 ", which is not there",
			      at->key.w[1], rec.holder);
	return r;
}

static int retired_record(struct check *k, const struct cfs_leaf_record *at,
			  struct cfs_err *why)
{
	struct cfs_retired_rec rec;
	int r = cfs_retired_rec_unpack(at->value, at->value_bytes, &rec, why);

	return r < 0 ? r
		     : cfs_check_own_other(k, rec.vaddr, rec.count,
					   (uint8_t)rec.type,
					   "an epoch that is over");
}

static int orphan_record(struct check *k, const struct cfs_leaf_record *at,
			 struct cfs_err *why)
{
	struct check_branch *b = cfs_check_branch(k, (uint16_t)low_of(at));
	struct cfs_orphan_rec rec;
	int r = cfs_orphan_rec_unpack(at->value, at->value_bytes, &rec, why);

	/* Branches come first in the order of keys. */
	if (r == 0 && b && at->key.w[1] == 0)
		b->has_mark = true;
	return r;
}

static int other_record(struct check *k, const struct cfs_leaf_record *at,
			struct cfs_err *why)
{
	union {
		struct cfs_bad_rec bad;
		struct cfs_scrub_rec scrub;
		struct cfs_tombstone_rec tombstone;
		struct cfs_receive_rec receive;
	} u;
	int r;

	switch (at->key.w[0] >> 56) {
	case CFS_TABLE_BAD:
		return cfs_bad_rec_unpack(at->value, at->value_bytes, &u.bad,
					  why);
	case CFS_TABLE_SCRUB:
		return cfs_scrub_rec_unpack(at->value, at->value_bytes,
					    &u.scrub, why);
	case CFS_TABLE_TOMBSTONE:
		r = cfs_tombstone_rec_unpack(at->value, at->value_bytes,
					     &u.tombstone, why);
		if (r == 0 && !cfs_check_branch(k, (uint16_t)low_of(at)))
			r = cfs_err_set(why, -EUCLEAN,
					"a tombstone of a "
					"branch that does not exist");
		if (r == 0 && u.tombstone.stamp > k->stamp)
			r = cfs_err_set(why, -EUCLEAN,
					"a tombstone of the future");
		return r;
	case CFS_TABLE_RECEIVE:
		return cfs_receive_rec_unpack(at->value, at->value_bytes,
					      &u.receive, why);
	default:
		return cfs_err_set(why, -EUCLEAN, "a class that cannot be");
	}
}

static int table_record(struct check *k, const struct cfs_leaf_record *at)
{
	const unsigned int class = (unsigned int)(at->key.w[0] >> 56);
	struct cfs_err why = CFS_ERR_INIT;
	int r;

	if (!k->m && class <= CFS_TABLE_DELEGATION)
		return cfs_check_pool_record(k, at);
	if (!k->m && class >= CFS_TABLE_VOLUME)
		r = cfs_err_set(&why, -EUCLEAN, "a class of other containers");
	else if (class == CFS_TABLE_VOLUME)
		r = volume_record(k, at, &why);
	else if (class == CFS_TABLE_BRANCH)
		r = branch_record(k, at, &why);
	else if (class == CFS_TABLE_SNAPSHOT)
		r = snapshot_record(k, at, &why);
	else if (class == CFS_TABLE_LOAN)
		r = loan_record(k, at, &why);
	else if (class == CFS_TABLE_RETIRED)
		r = retired_record(k, at, &why);
	else if (class == CFS_TABLE_CLIENT)
		r = client_record(k, at, &why);
	else if (class == CFS_TABLE_ORPHAN)
		r = orphan_record(k, at, &why);
	else if (class == CFS_TABLE_NAME)
		r = cfs_check_name_record(k, at, &why);
	else
		r = other_record(k, at, &why);
	if (r == -ENOMEM)
		return cfs_err_set(k->err, r, "out of memory");
	if (r < 0)
		cfs_check_say(k, "record",
			      "table record %#" PRIx64 " %#" PRIx64 " %#" PRIx64
			      ": %s",
			      at->key.w[0], at->key.w[1], at->key.w[2],
			      why.msg);
	return 0;
}

static int visit(void *arg, const struct cfs_node_found *node,
		 struct cfs_err *err)
{
	struct check *k = arg;
	int r = cfs_check_node(k, node);

	(void)err;
	if (r != 1)
		return r;
	r = 0;
	for (unsigned int i = 0;
	     r == 0 && i < cfs_repair_record_count(node->node); i++) {
		struct cfs_leaf_record rec;

		cfs_repair_record(node->node, i, &rec);
		r = table_record(k, &rec);
	}
	return r;
}

/* ---- how they fit -------------------------------------------------------- */

static const struct check_volume *volume_of(const struct check *k, uint64_t id)
{
	for (size_t i = 0; i < k->volumes.count; i++)
		if (k->volumes.items[i].id == id)
			return &k->volumes.items[i];
	return NULL;
}

static void check_volume(struct check *k, const struct check_volume *v)
{
	const struct check_branch *b = cfs_check_branch(
		k, (uint16_t)v->rec.head_branch);
	unsigned long long id = v->id;

	if (v->rec.state == CFS_OBJECT_DELETING)
		return;
	if (!b || b->rec.volume != v->id)
		cfs_check_say(k, "volume",
			      "volume %llu: its branch %" PRIu32
			      " is not there",
			      id, v->rec.head_branch);
	else if (b->rec.end_stamp)
		cfs_check_say(k, "volume",
			      "volume %llu: its branch %" PRIu32 " has ended",
			      id, v->rec.head_branch);
	if (v->rec.origin_volume && !volume_of(k, v->rec.origin_volume))
		cfs_check_say(k, "volume",
			      "volume %llu: the volume that it is "
			      "a clone of is not there",
			      id);
	if (v->rec.ino == 0 || v->rec.ino >= k->next_ino)
		cfs_check_say(k, "volume", "volume %llu: its inode cannot be",
			      id);
	if ((v->id == 1) != (v->rec.name[0] == '\0'))
		cfs_check_say(k, "volume", "volume %llu: its name cannot be",
			      id);
}

static void check_one_branch(struct check *k, const struct check_branch *b)
{
	const struct check_branch *parent;

	if (!volume_of(k, b->rec.volume))
		cfs_check_say(k, "branch", "branch %u: its volume is not there",
			      (unsigned int)b->id);
	if (b->rec.created_stamp > k->stamp || b->rec.end_stamp > k->stamp)
		cfs_check_say(k, "branch", "branch %u is newer than the root",
			      (unsigned int)b->id);
	if (!b->rec.parent)
		return;
	parent = cfs_check_branch(k, (uint16_t)b->rec.parent);
	/* Children are younger: so there is no circle. */
	if (!parent)
		cfs_check_say(k, "branch", "branch %u: its parent is not there",
			      (unsigned int)b->id);
	else if (parent->rec.created_stamp >= b->rec.created_stamp ||
		 b->rec.fork_stamp > b->rec.created_stamp ||
		 b->rec.fork_stamp < parent->rec.created_stamp)
		cfs_check_say(k, "branch",
			      "branch %u: it is not younger than "
			      "its parent",
			      (unsigned int)b->id);
}

static int by_name(const void *a, const void *b)
{
	const struct check_snapshot *x = a, *y = b;

	if (x->volume != y->volume)
		return x->volume < y->volume ? -1 : 1;
	return (x->name_hash > y->name_hash) - (x->name_hash < y->name_hash);
}

static int by_stamp(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Pins of every branch, and names that occur twice. */
static int check_pins(struct check *k)
{
	for (size_t i = 0; i < k->snapshots.count; i++) {
		struct check_snapshot *s = &k->snapshots.items[i];
		struct check_branch *b = cfs_check_branch(k, s->branch);

		if (!b || s->stamp < b->rec.created_stamp) {
			cfs_check_say(k, "snapshot",
				      "a snapshot of branch %u "
				      "at %" PRIu64 ": the branch is not there",
				      (unsigned int)s->branch, s->stamp);
			continue;
		}
		s->volume = b->rec.volume;
		if (cfs_vec_push(&b->pins, s->stamp) < 0)
			return cfs_err_set(k->err, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < k->branches.count; i++) {
		const struct cfs_branch_rec *rec = &k->branches.items[i].rec;
		struct check_branch *b =
			rec->parent ? cfs_check_branch(k, (uint16_t)rec->parent)
				    : NULL;

		if (b && cfs_vec_push(&b->pins, rec->fork_stamp) < 0)
			return cfs_err_set(k->err, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < k->branches.count; i++) {
		struct check_branch *b = &k->branches.items[i];

		if (b->pins.count > 0)
			qsort(b->pins.items, b->pins.count,
			      sizeof(*b->pins.items), by_stamp);
	}
	if (k->snapshots.count > 0)
		qsort(k->snapshots.items, k->snapshots.count,
		      sizeof(*k->snapshots.items), by_name);
	for (size_t i = 1; i < k->snapshots.count; i++)
		if (by_name(&k->snapshots.items[i - 1],
			    &k->snapshots.items[i]) == 0)
			cfs_check_say(k, "snapshot",
				      "volume %" PRIu64 " has "
				      "two snapshots of one name",
				      k->snapshots.items[i].volume);
	return 0;
}

int cfs_check_tables(struct check *k)
{
	int r = cfs_repair_walk(k->c, CFS_TREE_TABLE, visit, k, k->err);

	if (r == 0 && k->m)
		r = check_pins(k);
	if (r < 0 || !k->m || k->has_lost_nodes)
		return r;
	for (size_t i = 0; i < k->volumes.count; i++)
		check_volume(k, &k->volumes.items[i]);
	for (size_t i = 0; i < k->branches.count; i++)
		check_one_branch(k, &k->branches.items[i]);
	return cfs_check_names(k);
}
