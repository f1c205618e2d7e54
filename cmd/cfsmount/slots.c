/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The numbers of volumes and snapshots in nodes.  They are the same in each
 * mount of a pool and whenever a volume is opened again, since handles of NFS
 * have nodes in them, and outlive the mount.
 *
 * A volume has the number of its container; clones and snapshots have a hash of
 * what they are.  The generation tells those apart that happen to have the same
 * one: of two that are open at once one has the next that is free, and of its
 * handles it is said that they are stale in a later mount.
 */
#include "cfsmount/cfsmount.h"

#include "base/vec.h"
#include "base/xxh.h"

#include <stdlib.h>
#include <string.h>

/* Of clones and snapshots, and containers with high numbers. */
#define HASHED_MIN 0x8000u

struct identity {
	unsigned int slot;
	uint32_t generation;
};

static struct identity identify(const struct cfs_volume_info *info,
				const struct cfs_snapshot_info *snap)
{
	const bool is_plain = !snap && !strchr(info->name, '/');
	const uint64_t numbers[] = {
		is_plain ? 0 : info->volume_id,
		snap ? snap->stamp : 0,
		snap ? 1 : 0,
	};
	const uint64_t seed = cfs_xxh3(info->container_uuid,
				       sizeof(info->container_uuid));
	const uint64_t h = cfs_xxh3_seed(numbers, sizeof(numbers), seed);
	struct identity id = {
		.slot = HASHED_MIN +
			(unsigned int)(h % (MNT_SLOT_VIRTUAL - HASHED_MIN)),
		.generation = (uint32_t)(h >> 32) | 1,
	};

	if (is_plain && info->container_id && info->container_id < HASHED_MIN)
		id.slot = (unsigned int)info->container_id;
	return id;
}

int mnt_slot_take(struct mnt *m, struct mnt_volume *v, struct cfs_err *err)
{
	struct cfs_snapshot_info snap;
	struct cfs_volume_info info;
	struct identity id = { .slot = 0 };
	unsigned int tries = 0;
	int r = 0;

	if (m->is_whole || m->slots[0]) {
		r = cfs_session_volume_brief(m->s, v->name, &info, err);
		if (r == 0 && v->snap)
			r = cfs_session_snapshot_brief(m->s, v->name, v->snap,
						       &snap, err);
		if (r < 0)
			return r;
		id = identify(&info, v->snap ? &snap : NULL);
	}
	while (m->slots[id.slot]) {
		if (++id.slot >= MNT_SLOT_VIRTUAL)
			id.slot = HASHED_MIN;
		if (++tries == MNT_SLOT_VIRTUAL)
			return cfs_err_set(err, -EMFILE,
					   "too many volumes are open");
	}
	v->slot = (uint16_t)id.slot;
	v->generation = id.generation;
	m->slots[id.slot] = v;
	return 0;
}

/* ---- the way back -------------------------------------------------------- */

struct search {
	unsigned int slot;
	CFS_VEC(struct cfs_volume_info) volumes;
	const struct cfs_volume_info *of; /* the one that is looked at */
	char name[260];                   /* empty: not found yet */
	char snap[128];
};

static int keep_volume(void *arg, const struct cfs_volume_info *info)
{
	struct search *s = arg;

	return cfs_vec_push(&s->volumes, *info) < 0 ? -ENOMEM : 0;
}

static int look_at_snapshot(void *arg, const struct cfs_snapshot_info *info)
{
	struct search *s = arg;

	if (s->name[0] || identify(s->of, info).slot != s->slot)
		return 0;
	(void)snprintf(s->name, sizeof(s->name), "%s", s->of->name);
	(void)snprintf(s->snap, sizeof(s->snap), "%s", info->name);
	return 0;
}

static int look_at_volume(struct mnt *m, struct search *s,
			  const struct cfs_volume_info *info)
{
	s->of = info;
	if (m->is_whole && identify(info, NULL).slot == s->slot) {
		(void)snprintf(s->name, sizeof(s->name), "%s", info->name);
		return 0;
	}
	if (s->slot < HASHED_MIN || !info->snapshot_count)
		return 0;
	return cfs_session_snapshots(m->s, info->name, false, look_at_snapshot,
				     s, NULL);
}

static int search(struct mnt *m, struct search *s)
{
	struct cfs_volume_info own;
	int r;

	if (m->is_whole)
		r = cfs_session_volumes_brief(m->s, NULL, keep_volume, s, NULL);
	else
		r = cfs_session_volume_brief(m->s, m->name.volume, &own, NULL);
	if (r == 0 && !m->is_whole)
		r = keep_volume(s, &own);
	for (size_t i = 0; r == 0 && i < s->volumes.count && !s->name[0]; i++)
		r = look_at_volume(m, s, &s->volumes.items[i]);
	if (r == 0 && !s->name[0])
		r = -ENOENT;
	return r;
}

int mnt_slot_name(struct mnt *m, unsigned int slot, char name[260],
		  char snap[128])
{
	struct search s = { .slot = slot };
	int r = -ENOENT;

	/* One volume alone is open already; of a snapshot there is none. */
	if (slot && slot < MNT_SLOT_VIRTUAL && (m->is_whole || !m->name.snap))
		r = search(m, &s);
	cfs_vec_done(&s.volumes);
	if (r < 0)
		return r;
	(void)snprintf(name, 260, "%s", s.name);
	(void)snprintf(snap, 128, "%s", s.snap);
	return 0;
}

uint64_t mnt_slot_node(const struct cfs_volume_info *info,
		       const struct cfs_snapshot_info *snap, uint64_t ino)
{
	return (uint64_t)identify(info, snap).slot << MNT_SLOT_SHIFT | ino;
}
