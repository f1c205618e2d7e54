// SPDX-License-Identifier: GPL-3.0-or-later
/* Choosing calls: mostly small writes and syncs, now and then the rest. */
#include "crash_random.h"

#include "base/bits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void crash_dice_init(struct crash_dice *d, uint64_t seed)
{
	memset(d, 0, sizeof(*d));
	cfs_rng_init(&d->rng, seed);
	d->lun_bytes_max = 768u << 10;
}

uint64_t crash_dice_below(struct crash_dice *d, uint64_t count)
{
	return cfs_rng_below(&d->rng, count);
}

struct target {
	unsigned int slot, volume;
	bool is_tree;
};

/* Some volume that is there; false: none is. */
static bool pick_volume(struct crash_dice *d, const struct model *m,
			struct target *ret, char name[MODEL_PATH_BYTES])
{
	uint64_t first = crash_dice_below(d, MODEL_CONTAINERS);
	uint64_t volume = crash_dice_below(d, 2)
				  ? 0
				  : crash_dice_below(d, MODEL_VOLUMES);

	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++) {
		unsigned int slot = (unsigned int)(first + i) %
				    MODEL_CONTAINERS;
		const char *container = model_container_name(m, slot,
							     &ret->is_tree);

		if (!container)
			continue;
		ret->slot = slot;
		ret->volume = (unsigned int)volume;
		if (!model_clone_name(m, slot, ret->volume))
			ret->volume = 0;
		snprintf(name, MODEL_PATH_BYTES, "%s%s%s", container,
			 ret->volume ? "/" : "",
			 model_clone_name(m, slot, ret->volume));
		return true;
	}
	return false;
}

static unsigned int container_count(const struct model *m)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++)
		n += model_container_name(m, i, NULL) != NULL;
	return n;
}

static unsigned int snapshot_count(const struct model *m,
				   const struct target *t)
{
	unsigned int n = 0;

	while (n < MODEL_SNAPSHOTS &&
	       model_snapshot_name(m, t->slot, t->volume, n))
		n++;
	return n;
}

static unsigned int volume_count(const struct model *m, unsigned int slot)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < MODEL_VOLUMES; i++)
		n += model_clone_name(m, slot, i) != NULL;
	return n;
}

static void new_name(struct crash_dice *d, const char *prefix,
		     char ret[MODEL_PATH_BYTES])
{
	snprintf(ret, MODEL_PATH_BYTES, "%s%" PRIu64, prefix, ++d->count);
}

/* ---- bytes of a LUN
 * ---------------------------------------------------------- */

static void roll_range(struct crash_dice *d, uint64_t size_bytes,
		       struct crash_op *op)
{
	uint64_t blocks = size_bytes / MODEL_BLOCK_BYTES;

	switch (d->is_greedy ? 2 : crash_dice_below(d, 8)) {
	case 0: /* bytes anywhere */
		op->offset = crash_dice_below(d, size_bytes);
		op->length = 1 + crash_dice_below(d, 9000);
		break;
	case 1: /* long enough to go home at once */
		op->offset = crash_dice_below(d, blocks) * MODEL_BLOCK_BYTES;
		op->length = (32 + crash_dice_below(d, 64)) * MODEL_BLOCK_BYTES;
		break;
	case 2:
		op->offset = crash_dice_below(d, size_bytes);
		op->length = crash_dice_below(d, CFS_MIN(d->lun_bytes_max / 3,
							 3u << 20)) +
			     1;
		break;
	default: /* blocks, more often the first ones */
		op->offset = crash_dice_below(d,
					      crash_dice_below(d, blocks) + 1) *
			     MODEL_BLOCK_BYTES;
		op->length = (1 + crash_dice_below(d, 3)) * MODEL_BLOCK_BYTES;
		break;
	}
	op->length = CFS_MIN(op->length, size_bytes - op->offset);
	op->seed = ++d->count;
}

static void roll_lun(struct crash_dice *d, const struct model *m,
		     const struct target *t, struct crash_op *op)
{
	uint64_t size_bytes = model_size_bytes(m, t->slot, t->volume);

	switch (crash_dice_below(d, 12)) {
	case 0:
		op->kind = OP_PUNCH;
		roll_range(d, size_bytes, op);
		break;
	case 1:
		if (crash_dice_below(d, 3) == 0) {
			op->kind = OP_RESIZE;
			op->length = (1 +
				      crash_dice_below(
					      d, d->lun_bytes_max /
							 MODEL_BLOCK_BYTES)) *
				     MODEL_BLOCK_BYTES;
			break;
		}
		/* fallthrough */
	default:
		op->kind = OP_WRITE;
		roll_range(d, size_bytes, op);
		break;
	}
}

/* ---- trees
 * -------------------------------------------------------------------- */

static void roll_new_path(struct crash_dice *d, const struct model *m,
			  const struct target *t, char ret[MODEL_PATH_BYTES])
{
	char dir[MODEL_PATH_BYTES];
	unsigned int n = (unsigned int)crash_dice_below(d, 7);

	if (crash_dice_below(d, 3) &&
	    model_pick_path(m, t->slot, t->volume, crash_dice_below(d, 64),
			    true, dir))
		snprintf(ret, MODEL_PATH_BYTES, "%.40s/n%u", dir, n);
	else
		snprintf(ret, MODEL_PATH_BYTES, "n%u", n);
}

static void roll_path(struct crash_dice *d, const struct model *m,
		      const struct target *t, bool wants_dir,
		      char ret[MODEL_PATH_BYTES])
{
	if (!model_pick_path(m, t->slot, t->volume, crash_dice_below(d, 64),
			     wants_dir, ret))
		strcpy(ret, "nothing");
}

static void roll_file(struct crash_dice *d, struct crash_op *op)
{
	static const enum crash_op_kind kinds[] = {
		OP_TWRITE,    OP_TWRITE, OP_TWRITE,
		OP_TTRUNCATE, OP_TPUNCH, OP_TXATTR,
	};

	op->kind = kinds[crash_dice_below(d, CFS_ARRAY_COUNT(kinds))];
	op->offset = crash_dice_below(d, 1 + crash_dice_below(d, 60000));
	op->length = 1 + crash_dice_below(d, 1 + crash_dice_below(d, 20000));
	if (crash_dice_below(d, 10) == 0)
		op->length = 100000 + crash_dice_below(d, 100000);
	if (op->kind == OP_TXATTR)
		op->length = 1 + op->length % 250;
	op->seed = ++d->count;
}

static void roll_tree(struct crash_dice *d, const struct model *m,
		      const struct target *t, struct crash_op *op)
{
	static const enum crash_op_kind makes[] = {
		OP_TCREATE,
		OP_TCREATE,
		OP_TMKDIR,
		OP_TSYMLINK,
	};
	bool is_full = model_node_count(m, t->slot, t->volume) >
		       MODEL_NODES - 4;

	switch (crash_dice_below(d, 10)) {
	case 0:
	case 1:
	case 2:
		if (is_full)
			break;
		op->kind = makes[crash_dice_below(d, CFS_ARRAY_COUNT(makes))];
		roll_new_path(d, m, t, op->name);
		if (op->kind == OP_TSYMLINK)
			new_name(d, "../target", op->name2);
		return;
	case 3:
		op->kind = OP_TRENAME;
		roll_path(d, m, t, crash_dice_below(d, 3) == 0, op->name);
		roll_new_path(d, m, t, op->name2);
		return;
	case 4:
		/* Names are as scarce as inodes: links count as both. */
		if (is_full || crash_dice_below(d, 2))
			break;
		op->kind = OP_TLINK;
		roll_path(d, m, t, false, op->name);
		strcpy(op->name2, "link");
		return;
	case 5:
		break;
	case 6:
		op->kind = OP_TRMDIR;
		roll_path(d, m, t, true, op->name);
		return;
	default:
		roll_file(d, op);
		roll_path(d, m, t, false, op->name);
		return;
	}
	op->kind = OP_TUNLINK;
	roll_path(d, m, t, false, op->name);
}

/* ---- volumes and snapshots
 * ------------------------------------------------------- */

static void roll_create(struct crash_dice *d, const struct model *m,
			struct crash_op *op)
{
	op->kind = OP_CREATE;
	op->is_tree = crash_dice_below(d, 2);
	op->length =
		op->is_tree ? 0
			    : (16 +
			       crash_dice_below(
				       d, d->lun_bytes_max / MODEL_BLOCK_BYTES -
						  16)) *
				      MODEL_BLOCK_BYTES;
	memset(op->volume, 0, sizeof(op->volume));
	new_name(d, "v", op->volume);
	(void)m;
}

static void pick_snapshot(struct crash_dice *d, const struct model *m,
			  const struct target *t, char ret[MODEL_PATH_BYTES])
{
	unsigned int n = snapshot_count(m, t);

	strcpy(ret,
	       n ? model_snapshot_name(m, t->slot, t->volume,
				       (unsigned int)crash_dice_below(d, n))
		 : "nothing");
}

static void roll_rare(struct crash_dice *d, const struct model *m,
		      const struct target *t, struct crash_op *op)
{
	unsigned int snaps = snapshot_count(m, t);

	switch (crash_dice_below(d, 10)) {
	case 0:
		op->kind = OP_RENAME;
		new_name(d, t->volume ? "c" : "v", op->name);
		return;
	case 1:
		op->kind = OP_SNAP_RENAME;
		pick_snapshot(d, m, t, op->name);
		new_name(d, "s", op->name2);
		return;
	case 2:
	case 3:
		if (volume_count(m, t->slot) == MODEL_VOLUMES)
			break;
		op->kind = OP_CLONE;
		pick_snapshot(d, m, t, op->name);
		new_name(d, "c", op->name2);
		return;
	case 4:
	case 5:
		op->kind = OP_ROLLBACK;
		pick_snapshot(d, m, t, op->name);
		if (snaps < MODEL_SNAPSHOTS && crash_dice_below(d, 2))
			new_name(d, "s", op->name2);
		return;
	case 6:
		if (t->volume == 0 && crash_dice_below(d, 3))
			break;
		op->kind = OP_RM;
		return;
	case 7:
		if (container_count(m) >= 3)
			break;
		roll_create(d, m, op);
		return;
	default:
		break;
	}
	op->kind = snaps > 4 || (snaps && crash_dice_below(d, 3) == 0)
			   ? OP_SNAP_RM
			   : OP_SNAP;
	if (op->kind == OP_SNAP)
		new_name(d, "s", op->name);
	else
		pick_snapshot(d, m, t, op->name);
}

void crash_dice_roll(struct crash_dice *d, const struct model *m,
		     struct crash_op *ret)
{
	struct target t;

	memset(ret, 0, sizeof(*ret));
	if (!pick_volume(d, m, &t, ret->volume)) {
		roll_create(d, m, ret);
		return;
	}
	switch (crash_dice_below(d, 40)) {
	case 0:
		ret->kind = crash_dice_below(d, 2) ? OP_REOPEN : OP_KILL;
		return;
	case 1:
		ret->kind = OP_COMMIT;
		return;
	case 2:
		ret->kind = crash_dice_below(d, 3) ? OP_SYNC : OP_TRIM;
		return;
	case 3:
	case 4:
	case 5:
	case 6:
	case 7:
		ret->kind = OP_SYNC;
		return;
	case 8:
	case 9:
	case 10:
	case 11:
	case 12:
		roll_rare(d, m, &t, ret);
		return;
	default:
		break;
	}
	if (t.is_tree)
		roll_tree(d, m, &t, ret);
	else
		roll_lun(d, m, &t, ret);
}
