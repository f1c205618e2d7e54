/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The device: logs of 64 KiB, each with its gravestone in its first sector and
 * a record in each of the others.  What is in the tree is the owner's.
 */
#include "leases_world.h"

#include <stdlib.h>
#include <string.h>

#include "base/le.h"
#include "base/xxh.h"

struct record_disk {
	le64 csum;
	le64 client_id;
	le64 block;
	le64 generation, seq, value;
};

struct grave_disk {
	le64 client_id; /* of the dead */
};

void leases_store_init(struct leases_world *w)
{
	if (cfs_sim_new(&w->store.sim, NULL) < 0 ||
	    cfs_sim_dev_new(w->store.sim,
			    (uint64_t)LEASES_LOGS * LEASES_LOG_BYTES,
			    &w->store.dev, NULL) < 0)
		abort();
}

void leases_store_done(struct leases_world *w)
{
	cfs_dev_close(w->store.dev);
	cfs_sim_free(w->store.sim);
}

struct leases_log *leases_store_log(struct leases_world *w, uint64_t client_id)
{
	for (unsigned int i = 0; i < w->store.log_count; i++)
		if (w->store.logs[i].client_id == client_id)
			return &w->store.logs[i];
	return NULL;
}

int leases_store_open_log(struct leases_world *w,
			  const struct cfs_owner_known *known)
{
	struct leases_log *log = leases_store_log(w, known->client_id);

	if (!log && w->store.log_count == LEASES_LOGS)
		return -ENOSPC;
	if (!log) {
		log = &w->store.logs[w->store.log_count++];
		log->state = LOG_OPEN;
		log->client_id = known->client_id;
		log->known = *known;
	}
	return (int)(log - w->store.logs);
}

static uint64_t log_offset(const struct leases_world *w,
			   const struct leases_log *log)
{
	return (uint64_t)(log - w->store.logs) * LEASES_LOG_BYTES;
}

static void must(struct leases_world *w, int r, const char *what)
{
	if (r < 0)
		sim_fail(w->sim, "the device fails: %s: %d", what, r);
}

void leases_store_bury(struct leases_world *w, const struct leases_log *log)
{
	struct grave_disk grave = { .client_id = le64_put(log->client_id) };
	uint8_t sector[LEASES_SLOT_BYTES] = { 0 };

	memcpy(sector, &grave, sizeof(grave));
	must(w,
	     cfs_dev_write(w->store.dev, log_offset(w, log), sector,
			   sizeof(sector), NULL),
	     "gravestone");
	must(w, cfs_dev_flush(w->store.dev, NULL), "flush of a gravestone");
}

bool leases_store_is_buried(struct leases_world *w, uint32_t log,
			    uint64_t client_id)
{
	struct grave_disk grave;
	uint8_t sector[LEASES_SLOT_BYTES];

	must(w,
	     cfs_dev_read(w->store.dev, log_offset(w, &w->store.logs[log]),
			  sector, sizeof(sector), NULL),
	     "look back");
	memcpy(&grave, sector, sizeof(grave));
	return le64_get(grave.client_id) == client_id;
}

static bool value_is_newer(const struct leases_value *a,
			   const struct leases_value *b)
{
	return a->generation != b->generation ? a->generation > b->generation
					      : a->seq > b->seq;
}

static uint64_t record_csum(const struct record_disk *d)
{
	return cfs_xxh3((const uint8_t *)d + sizeof(d->csum),
			sizeof(*d) - sizeof(d->csum));
}

void leases_store_fold(struct leases_world *w, const struct leases_log *log)
{
	static uint8_t all[LEASES_LOG_BYTES];

	must(w,
	     cfs_dev_read(w->store.dev, log_offset(w, log), all, sizeof(all),
			  NULL),
	     "read of a log");
	for (unsigned int i = 1; i <= LEASES_SLOTS; i++) {
		struct record_disk d;
		struct leases_value v;
		uint64_t block;

		memcpy(&d, all + (size_t)i * LEASES_SLOT_BYTES, sizeof(d));
		block = le64_get(d.block);
		if (le64_get(d.client_id) != log->client_id ||
		    le64_get(d.csum) != record_csum(&d) ||
		    block >= LEASES_BLOCKS)
			continue;
		v.generation = le64_get(d.generation);
		v.seq = le64_get(d.seq);
		v.value = le64_get(d.value);
		if (value_is_newer(&v, &w->store.tree[block]))
			w->store.tree[block] = v;
	}
}

void leases_store_write(struct leases_world *w, struct cfs_dev *dev,
			uint32_t log, unsigned int slot, uint64_t client_id,
			unsigned int block, const struct leases_value *v)
{
	struct record_disk d = {
		.client_id = le64_put(client_id),
		.block = le64_put(block),
		.generation = le64_put(v->generation),
		.seq = le64_put(v->seq),
		.value = le64_put(v->value),
	};
	uint8_t sector[LEASES_SLOT_BYTES] = { 0 };

	d.csum = le64_put(record_csum(&d));
	memcpy(sector, &d, sizeof(d));
	must(w,
	     cfs_dev_write(dev,
			   log_offset(w, &w->store.logs[log]) +
				   (uint64_t)(slot + 1) * LEASES_SLOT_BYTES,
			   sector, sizeof(sector), NULL),
	     "record");
}
