/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A host that stands still in the middle of what it writes.  Behind the flush
 * before the chosen one its writes and discards are kept aside; some of them
 * reach the device all the same, as they may.  In the chosen flush a hook is
 * called: the world goes on.  Then the host either wakes up, its writes land
 * and the flush succeeds; or they land when the test says so, and it never
 * hears of them.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/rng.h"
#include "device/device_priv.h"
#include "gate_kinds.h"

#define GATE_WRITES_MAX 4096u

struct gate;

struct gate_write {
	struct gate *gate;
	uint64_t offset_bytes;
	size_t length_bytes;
	void *data; /* NULL: a discard */
};

struct gate_world {
	unsigned int flushes; /* so far */
	unsigned int stop_at; /* stands still in this one; 0: never */
	bool wakes_up;
	void (*hook)(void *arg);
	void *arg;
	struct cfs_rng rng;
	bool is_holding, has_stopped;
	struct gate_write late[GATE_WRITES_MAX];
	size_t late_count;
	unsigned int landed[GATE_KINDS]; /* late, by what it was */
	struct gate_plan *plan;          /* notes what is written; or NULL */
};

struct gate {
	struct cfs_dev dev;
	struct cfs_dev *under;
	struct gate_world *w;
};

static inline struct gate *gate_of(struct cfs_dev *dev)
{
	return (struct gate *)(void *)dev;
}

static inline int gate_land(const struct gate_write *l)
{
	return l->data ? cfs_dev_write(l->gate->under, l->offset_bytes, l->data,
				       l->length_bytes, NULL)
		       : cfs_dev_discard(l->gate->under, l->offset_bytes,
					 l->length_bytes, NULL);
}

/* What was kept aside reaches the devices; how many there were. */
static inline size_t gate_release(struct gate_world *w)
{
	size_t n = w->late_count;

	for (size_t i = 0; i < n; i++) {
		gate_count(w->landed, w->late[i].data, w->late[i].length_bytes);
		(void)gate_land(&w->late[i]);
		free(w->late[i].data);
	}
	w->late_count = 0;
	return n;
}

static inline int gate_keep(struct gate *g, uint64_t offset_bytes,
			    const void *buf, size_t length_bytes)
{
	struct gate_world *w = g->w;
	struct gate_write *l;

	if (w->late_count == GATE_WRITES_MAX)
		return -EIO;
	l = &w->late[w->late_count++];
	*l = (struct gate_write){ g, offset_bytes, length_bytes, NULL };
	if (!buf)
		return 0;
	l->data = malloc(length_bytes);
	if (!l->data)
		return -ENOMEM;
	memcpy(l->data, buf, length_bytes);
	/* Perhaps it is there already, and will come once more. */
	return cfs_rng_below(&w->rng, 3) == 0 ? gate_land(l) : 0;
}

/* What the host wrote it reads, wherever that is. */
static inline int gate_read(struct gate *g, uint64_t offset_bytes, void *buf,
			    size_t length_bytes)
{
	const uint64_t end = offset_bytes + length_bytes;
	int r = cfs_dev_read(g->under, offset_bytes, buf, length_bytes, NULL);

	for (size_t i = 0; r == 0 && i < g->w->late_count; i++) {
		const struct gate_write *l = &g->w->late[i];
		const uint64_t late_end = l->offset_bytes + l->length_bytes;
		const uint64_t a = CFS_MAX(offset_bytes, l->offset_bytes);
		const uint64_t b = CFS_MIN(end, late_end);

		if (l->gate != g || !l->data || a >= b)
			continue;
		memcpy((uint8_t *)buf + (a - offset_bytes),
		       (const uint8_t *)l->data + (a - l->offset_bytes),
		       (size_t)(b - a));
	}
	return r;
}

static inline int gate_transfer(struct cfs_dev *dev, enum cfs_io_op op,
				uint64_t offset_bytes, void *buf,
				size_t length_bytes)
{
	struct gate *g = gate_of(dev);

	if (op == CFS_IO_READ)
		return gate_read(g, offset_bytes, buf, length_bytes);
	if (g->w->has_stopped)
		return -EIO;
	if (g->w->plan)
		gate_note(g->w->plan, g->w->flushes + 1, buf, length_bytes);
	if (g->w->is_holding)
		return gate_keep(g, offset_bytes, buf, length_bytes);
	return cfs_dev_write(g->under, offset_bytes, buf, length_bytes, NULL);
}

static inline int gate_flush(struct cfs_dev *dev)
{
	struct gate_world *w = gate_of(dev)->w;

	if (w->has_stopped)
		return -EIO;
	w->flushes++;
	if (w->stop_at && w->flushes == w->stop_at) {
		w->hook(w->arg);
		w->has_stopped = !w->wakes_up;
		w->is_holding = false;
		if (w->has_stopped)
			return -EIO;
		(void)gate_release(w);
	}
	if (w->stop_at && w->flushes + 1 == w->stop_at)
		w->is_holding = true;
	return cfs_dev_flush(gate_of(dev)->under, NULL);
}

static inline int gate_discard(struct cfs_dev *dev, uint64_t offset_bytes,
			       uint64_t length_bytes)
{
	struct gate *g = gate_of(dev);

	if (g->w->has_stopped)
		return -EIO;
	if (g->w->plan)
		gate_note(g->w->plan, g->w->flushes + 1, NULL, length_bytes);
	if (g->w->is_holding)
		return gate_keep(g, offset_bytes, NULL, length_bytes);
	return cfs_dev_discard(g->under, offset_bytes, length_bytes, NULL);
}

static inline int gate_lock(struct cfs_dev *dev, bool exclusive)
{
	return cfs_dev_lock(gate_of(dev)->under, exclusive, NULL);
}

static inline void gate_unlock(struct cfs_dev *dev)
{
	cfs_dev_unlock(gate_of(dev)->under);
}

static inline bool gate_is_same(const struct cfs_dev *a,
				const struct cfs_dev *b)
{
	return a == b;
}

/* The one below stays open: late writes go there. */
static inline void gate_close(struct cfs_dev *dev)
{
	cfs_dev_unlock(gate_of(dev)->under);
}

static const struct cfs_dev_ops gate_ops = {
	.transfer = gate_transfer,
	.flush = gate_flush,
	.discard = gate_discard,
	.lock = gate_lock,
	.unlock = gate_unlock,
	.is_same = gate_is_same,
	.close = gate_close,
};

/* In front of @under, which it owns from now on; ends with gate_free. */
static inline struct cfs_dev *gate_new(struct gate_world *w,
				       struct cfs_dev *under)
{
	struct gate *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	g->dev = (struct cfs_dev){
		.ops = &gate_ops,
		.kind = cfs_dev_kind(under),
		.is_writable = true,
		.size_bytes = cfs_dev_size_bytes(under),
		.name = strdup(cfs_dev_name(under)),
	};
	g->under = under;
	g->w = w;
	return &g->dev;
}

static inline void gate_free(struct cfs_dev *dev)
{
	cfs_dev_close(gate_of(dev)->under);
	free(dev);
}
