/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The scrub: devices, then container by container; rate, cursor, counts. */
#include "heal/scrub_priv.h"

#include "base/cleanup.h"
#include "pool/metavolume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAVE_NS (5 * CFS_NS_PER_S)
#define NAP_NS  (100 * CFS_NS_PER_MS)

static bool wants_stop(const struct scrub *s)
{
	return s->calls->stop && s->calls->stop(s->calls->session_arg);
}

int cfs_scrub_account(struct scrub *s, uint64_t bytes)
{
	s->result->read_bytes += bytes;
	s->rec.read_blocks += bytes / CFS_BLOCK_BYTES;
	s->done_bytes += bytes;
	if (s->calls->progress)
		s->calls->progress(s->calls->session_arg, s->done_bytes,
				   CFS_MAX(s->total_bytes, s->done_bytes));
	if (s->opt->rate_bytes)
		s->owed_ns += (uint64_t)((double)bytes * 1e9 /
					 (double)s->opt->rate_bytes);
	for (;;) {
		uint64_t now = cfs_clock_elapsed_ns(s->clock);
		uint64_t until = cfs_deadline_add(s->began_ns, s->owed_ns);

		if (wants_stop(s))
			return cfs_err_set(s->err, -EINTR, "stopped");
		if (now >= until)
			return 0;
		cfs_clock_sleep_until(s->clock, CFS_MIN(until, now + NAP_NS));
	}
}

int cfs_scrub_tell(struct scrub *s, const struct trace_place *place)
{
	uint64_t blocks = place->length_bytes / CFS_BLOCK_BYTES;

	s->result->bad_blocks += blocks;
	s->rec.bad_blocks += blocks;
	if (place->is_healed) {
		s->result->healed_blocks += blocks;
		s->rec.healed_blocks += blocks;
	} else {
		s->result->left_blocks += blocks;
	}
	return cfs_tracer_tell(s->tracer, place, s->err);
}

int cfs_scrub_tell_piece(struct scrub *s, const char *kind, uint32_t cause,
			 uint64_t vaddr, unsigned int piece,
			 const struct cfs_tag *tag, bool is_healed)
{
	struct trace_place p = {
		.kind = kind,
		.cause = cfs_cause_name(cause),
		.length_bytes = CFS_BLOCK_BYTES,
		.m = s->m,
		.vaddr = vaddr,
		.is_healed = is_healed,
	};

	if (tag)
		p.tag = *tag;
	(void)cfs_metavolume_locate(s->mv, vaddr, piece, &p.device_index,
				    &p.device_offset_bytes);
	return cfs_scrub_tell(s, &p);
}

int cfs_scrub_save(struct scrub *s, uint64_t lslice, uint32_t block,
		   bool at_once)
{
	uint64_t now = cfs_clock_elapsed_ns(s->clock);

	s->rec.cursor_lslice = lslice;
	s->rec.cursor_block = block;
	if (!s->heals || (!at_once && now - s->saved_ns < SAVE_NS))
		return 0;
	s->saved_ns = now;
	return cfs_scrub_rec_set(s->c, &s->rec, s->err);
}

/* ---- one container ------------------------------------------------------- */

/* What was met and healed on the way here. */
static int tell_healed(struct scrub *s)
{
	struct cfs_healed_node list[CFS_HEALED_NODES_MAX];
	unsigned int n;
	int r = 0;

	cfs_container_lock(s->c);
	n = cfs_repair_take_healed(s->c, list);
	cfs_container_unlock(s->c);
	for (unsigned int i = 0; i < n && r == 0; i++)
		r = cfs_scrub_tell_piece(
			s, list[i].tree_id == CFS_TREE_TABLE ? "table" : "node",
			CFS_BAD_CONTENT, list[i].vaddr, list[i].piece, NULL,
			true);
	return r;
}

static int begin(struct scrub *s, uint64_t *ret_lslice, uint32_t *ret_block)
{
	struct cfs_scrub_rec last;
	int r = cfs_scrub_rec_get(s->c, &last, s->err);

	if (r < 0)
		return r;
	*ret_lslice = 0;
	*ret_block = 0;
	if (s->opt->continues && last.started_ns && !last.ended_ns) {
		s->rec = last;
		*ret_lslice = last.cursor_lslice;
		*ret_block = (uint32_t)last.cursor_block;
	} else {
		s->rec = (struct cfs_scrub_rec){
			.started_ns = cfs_clock_realtime_ns(s->clock),
		};
	}
	s->from = cfs_vaddr(*ret_lslice, *ret_block);
	return cfs_scrub_save(s, *ret_lslice, *ret_block, true);
}

static int slices(struct scrub *s, uint64_t lslice, uint32_t block)
{
	uint64_t end = cfs_metavolume_end(s->mv);
	int r = 0;

	for (; lslice < end && r == 0; lslice++, block = 0) {
		struct cfs_piece pieces[CFS_PIECES_MAX];

		if (!cfs_metavolume_get(s->mv, lslice, pieces))
			continue;
		s->rec.cursor_lslice = lslice;
		s->rec.cursor_block = block;
		r = cfs_scrub_slice(s, lslice, block);
		if (r == 0)
			r = cfs_scrub_save(s, lslice + 1, 0, false);
	}
	return r;
}

static int scrub_container(struct scrub *s, struct cfs_container *c,
			   struct cfs_member *m)
{
	uint64_t lslice = 0;
	uint32_t block = 0;
	int r, r2;

	s->c = c;
	s->m = m;
	s->mv = cfs_container_metavolume(c);
	s->geo = cfs_metavolume_geometry(s->mv);
	s->heals = s->opt->heals && cfs_container_is_writable(c);
	s->bad.count = 0;
	s->groups.count = 0;
	cfs_tracer_forget(s->tracer);
	r = tell_healed(s);
	/* What is in memory only goes home, to be looked at too. */
	if (r == 0 && s->heals)
		r = cfs_container_commit(c, s->err);
	if (r == 0)
		r = begin(s, &lslice, &block);
	if (r == 0)
		r = cfs_scrub_roots(s);
	if (r == 0)
		r = slices(s, lslice, block);
	if (r < 0 && r != -EINTR)
		return r;
	/* Stopped or not: what was found is dealt with. */
	r2 = cfs_scrub_resolve(s);
	if (r2 == 0)
		r2 = cfs_scrub_keep_bad(
			s, r == 0 ? UINT64_MAX
				  : cfs_vaddr(s->rec.cursor_lslice,
					      s->rec.cursor_block));
	if (r2 == 0 && r == 0)
		r = cfs_scrub_garbage(s);
	if (r < 0 && r != -EINTR)
		return r;
	if (r2 == 0 && r == 0)
		s->rec.ended_ns = cfs_clock_realtime_ns(s->clock);
	if (r2 == 0)
		r2 = cfs_scrub_save(s, s->rec.cursor_lslice,
				    (uint32_t)s->rec.cursor_block, true);
	return r2 < 0 ? r2 : r;
}

/* ---- the pool ------------------------------------------------------------ */

/* Is this copy of the label good, and as new as the best one? */
static bool label_is_good(struct cfs_dev *dev, uint64_t offset_bytes,
			  const struct cfs_label *best,
			  struct cfs_page_disk *page)
{
	struct cfs_label label;

	return cfs_dev_read(dev, offset_bytes, page, sizeof(*page), NULL) ==
		       0 &&
	       cfs_label_unpack(page, offset_bytes, &label, NULL) == 0 &&
	       label.seq == best->seq;
}

static int scrub_label(struct scrub *s, uint32_t index)
{
	const struct cfs_devset *set = cfs_pool_devset(s->pool);
	struct cfs_dev *dev = cfs_devset_dev(set, index);
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	struct cfs_label label;
	unsigned int bad = 0;
	int r = 0;

	if (!page)
		return cfs_err_set(s->err, -ENOMEM, "out of memory");
	if (!dev)
		return 0;
	if (cfs_label_read(dev, &label, &bad, NULL) < 0)
		label = *cfs_devset_label(set, index); /* as it was */
	for (unsigned int i = 0; i < CFS_LABEL_COPIES && r == 0; i++) {
		struct trace_place p = {
			.kind = "label",
			.cause = cfs_cause_name(CFS_BAD_CONTENT),
			.device_index = index,
			.device_offset_bytes = cfs_label_offset_bytes(
				i, label.size_bytes),
			.length_bytes = CFS_BLOCK_BYTES,
		};

		if (label_is_good(dev, p.device_offset_bytes, &label, page))
			continue;
		/* The same content as the others have, so the order of writes
		 * of a new label does not matter. */
		cfs_label_pack(&label, p.device_offset_bytes, page);
		p.is_healed = s->opt->heals &&
			      cfs_dev_write(dev, p.device_offset_bytes, page,
					    sizeof(*page), NULL) == 0 &&
			      cfs_dev_flush(dev, NULL) == 0 &&
			      label_is_good(dev, p.device_offset_bytes, &label,
					    page);
		r = cfs_scrub_tell(s, &p);
	}
	return r;
}

static int scrub_pool(struct scrub *s)
{
	uint32_t count = cfs_devset_count(cfs_pool_devset(s->pool));
	int r = 0;

	for (uint32_t i = 0; i < count && r == 0; i++)
		r = scrub_label(s, i);
	if (r == 0)
		r = scrub_container(s, cfs_pool_container0(s->pool), NULL);
	return r;
}

/* A container that cannot be opened is left damage, and the rest goes on. */
static int tell_closed(struct scrub *s, const char *name)
{
	struct cfs_damage *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return cfs_err_set(s->err, -ENOMEM, "out of memory");
	d->kind = "container";
	d->cause = "";
	(void)snprintf(d->container, sizeof(d->container), "%s", name);
	s->result->bad_blocks++;
	s->result->left_blocks++;
	r = cfs_tracer_flush(s->tracer);
	if (r == 0 && s->calls->each)
		r = s->calls->each(s->calls->arg, d);
	free(d);
	return r;
}

struct listed {
	uint64_t id;
	char name[CFS_NAME_BYTES];
	struct cfs_member *m; /* NULL: cannot be opened */
	bool is_away;         /* others serve it */
};

struct scrub_list {
	struct scrub *s;
	const char *only;
	CFS_VEC(struct listed) items;
};

static int list_one(void *arg, uint64_t id, const struct cfs_container_rec *rec,
		    struct cfs_err *err)
{
	struct scrub_list *list = arg;
	struct listed l = { .id = id };

	if (rec->state != CFS_OBJECT_LIVE ||
	    (list->only && strcmp(list->only, rec->name) != 0))
		return 0;
	memcpy(l.name, rec->name, sizeof(l.name));
	if (cfs_vec_push(&list->items, l) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static uint64_t bytes_of(struct cfs_container *c)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	unsigned int pieces = (unsigned int)__builtin_popcount(
		cfs_metavolume_readable(mv, 0));
	uint64_t blocks;

	cfs_container_lock(c);
	blocks = cfs_repair_used_blocks(c);
	cfs_container_unlock(c);
	blocks += cfs_metavolume_slice_count(mv) * 2 *
		  cfs_metavolume_geometry(mv)->group_count;
	return blocks * pieces * CFS_BLOCK_BYTES;
}

static int scrub_listed(struct scrub *s, struct scrub_list *list)
{
	int r = 0;

	for (size_t i = 0; i < list->items.count; i++) {
		struct listed *l = &list->items.items[i];

		const int opened = cfs_pool_member_by_id(s->pool, l->id, &l->m,
							 NULL);

		if (opened == 0)
			s->total_bytes += bytes_of(l->m->container);
		/* Whoever serves it looks at it. */
		l->is_away = opened == -EREMOTE;
	}
	if (!list->only) {
		s->total_bytes += bytes_of(cfs_pool_container0(s->pool));
		r = scrub_pool(s);
	}
	for (size_t i = 0; i < list->items.count && r == 0; i++) {
		struct listed *l = &list->items.items[i];

		if (l->is_away)
			continue;
		r = l->m ? scrub_container(s, l->m->container, l->m)
			 : tell_closed(s, l->name);
	}
	return r;
}

/* What check finds, as damage that is left. */
static int full_problem(void *arg, const struct cfs_problem *p)
{
	struct scrub *s = arg;
	struct cfs_damage *d;
	int r = 0;

	s->result->bad_blocks++;
	s->result->left_blocks++;
	if (s->calls->problem)
		return s->calls->problem(s->calls->arg, p);
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->kind = p->kind;
	d->cause = "";
	memcpy(d->container, p->container, sizeof(d->container));
	memcpy(d->volume, p->volume, sizeof(d->volume));
	memcpy(d->path, p->path, sizeof(d->path));
	d->has_path = p->path[0] != '\0';
	if (s->calls->each)
		r = s->calls->each(s->calls->arg, d);
	free(d);
	return r;
}

static int full_check(struct scrub *s, const char *container)
{
	const struct cfs_check_options opt = {
		.container = container,
		.each = full_problem,
		.arg = s,
		.stop = s->calls->stop,
		.stop_arg = s->calls->session_arg,
	};
	struct cfs_check_result result;

	return cfs_pool_check(s->pool, &opt, &result, s->err);
}

int cfs_pool_scrub(struct cfs_pool *pool, const char *container,
		   const struct cfs_scrub_options *opt,
		   const struct cfs_scrub_calls *calls,
		   struct cfs_scrub_result *ret, struct cfs_err *err)
{
	struct scrub s = {
		.pool = pool,
		.opt = opt,
		.calls = calls,
		.result = ret,
		.clock = calls->clock ? calls->clock : cfs_clock_system(),
		.err = err,
	};
	struct scrub_list list = { .s = &s, .only = container };
	int r, r2;

	memset(ret, 0, sizeof(*ret));
	ret->started_ns = cfs_clock_realtime_ns(s.clock);
	s.began_ns = cfs_clock_elapsed_ns(s.clock);
	r = cfs_tracer_new(pool, calls->each, calls->arg, &s.tracer, err);
	if (r == 0)
		r = cfs_pool_containers(pool, list_one, &list, err);
	if (r == 0 && container && list.items.count == 0)
		r = cfs_err_set(err, -ENOENT, "no such volume");
	if (r == 0)
		r = scrub_listed(&s, &list);
	if (s.tracer) {
		r2 = cfs_tracer_flush(s.tracer);
		r = r == 0 ? r2 : r;
	}
	if (r == 0 && opt->is_full)
		r = full_check(&s, container);
	ret->ended_ns = cfs_clock_realtime_ns(s.clock);
	cfs_tracer_free(s.tracer);
	cfs_vec_done(&s.bad);
	cfs_vec_done(&s.groups);
	cfs_vec_done(&list.items);
	return r;
}
