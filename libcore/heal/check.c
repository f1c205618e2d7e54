/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The check: containers in turn, and how problems are told. */
#include "heal/check_priv.h"

#include "base/cleanup.h"
#include "pool/metavolume.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MAX  (UINT32_C(1) << 20) /* of what waits for its tags */
#define NOTES_MAX 500u                /* told of one step of a container */

/* ---- telling ------------------------------------------------------------- */

void cfs_check_say(struct check *k, const char *kind, const char *fmt, ...)
{
	struct check_note note = { .kind = kind };
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(note.text, sizeof(note.text), fmt, ap);
	va_end(ap);
	if (k->notes.count >= NOTES_MAX || cfs_vec_push(&k->notes, note) < 0)
		k->left_out++;
}

int cfs_check_tell(struct check *k, const struct cfs_problem *p)
{
	k->result->problems++;
	return k->opt->each ? k->opt->each(k->opt->arg, p) : 0;
}

int cfs_check_flush(struct check *k)
{
	struct cfs_problem p = { .kind = "" };
	int r = 0;

	if (k->left_out) {
		struct check_note more = { .kind = "more" };

		(void)snprintf(more.text, sizeof(more.text),
			       "%zu more of this kind", k->left_out);
		k->left_out = 0;
		if (k->notes.count > 0) {
			more.kind = k->notes.items[k->notes.count - 1].kind;
			(void)cfs_vec_push(&k->notes, more);
		}
	}
	(void)snprintf(p.container, sizeof(p.container), "%s", k->name);
	for (size_t i = 0; i < k->notes.count && r == 0; i++) {
		p.kind = k->notes.items[i].kind;
		memcpy(p.text, k->notes.items[i].text, sizeof(p.text));
		r = cfs_check_tell(k, &p);
	}
	k->notes.count = 0;
	return r;
}

int cfs_check_stopped(struct check *k)
{
	if (++k->visits % 64 == 0 && k->opt->stop &&
	    k->opt->stop(k->opt->stop_arg))
		return cfs_err_set(k->err, -EINTR, "stopped");
	return 0;
}

/* ---- owners -------------------------------------------------------------- */

bool cfs_check_own(struct check *k, uint64_t vaddr, uint32_t count,
		   const char *what)
{
	uint64_t lslice = cfs_vaddr_lslice(vaddr);
	uint32_t block = cfs_vaddr_block(vaddr);
	uint64_t *bits;
	uint32_t first;
	bool is_twice = false;

	if (count == 0 || lslice >= k->lslice_end || !k->owned[lslice] ||
	    !cfs_geometry_is_data(k->geo, block) ||
	    !cfs_range_fits(block - k->geo->data_start, count,
			    k->geo->data_count)) {
		cfs_check_say(k, "space",
			      "%s: address %#" PRIx64
			      " is in no slice of the container",
			      what, vaddr);
		return false;
	}
	bits = k->owned[lslice];
	first = block - k->geo->data_start;
	for (uint32_t i = first; i < first + count; i++) {
		is_twice |= bits[i / 64] >> (i % 64) & 1;
		bits[i / 64] |= UINT64_C(1) << (i % 64);
	}
	k->owned_count += count;
	k->result->blocks += count;
	if (is_twice)
		cfs_check_say(k, "space",
			      "%s: a block of %" PRIu32 " at %#" PRIx64
			      " has another owner too",
			      what, count, vaddr);
	return !is_twice;
}

int cfs_check_expect(struct check *k, const struct check_run *run)
{
	if (cfs_vec_push(&k->runs, *run) < 0)
		return cfs_err_set(k->err, -ENOMEM, "out of memory");
	return k->runs.count < RUNS_MAX ? 0 : cfs_check_tags(k, false);
}

static int expect_node(struct check *k, const struct cfs_node_found *node,
		       unsigned int copy)
{
	struct check_run run = {
		.vaddr = node->ref.vaddr[copy],
		.count = 1,
		.tag = {
			.type = node->tree_id == CFS_TREE_TABLE ?
				CFS_TAG_TABLE : CFS_TAG_NODE,
			.ino = node->tree_id,
			.offset = node->number,
			.stamp = node->ref.stamp,
		},
	};

	run.tag.csum = cfs_tag_identity_hash(&run.tag, k->seed) ^
		       node->ref.csum;
	if (!run.tag.csum)
		run.tag.csum = 1;
	return cfs_check_expect(k, &run);
}

int cfs_check_node(struct check *k, const struct cfs_node_found *node)
{
	int r = cfs_check_stopped(k);

	k->result->nodes++;
	if (!node->node) {
		k->has_lost_nodes = true;
		cfs_check_say(k, "node",
			      "tree %u: level %u: node at %#" PRIx64 ": %s",
			      node->tree_id, node->level, node->ref.vaddr[0],
			      node->why);
	}
	for (unsigned int i = 0; i < 2 && r == 0; i++) {
		if (!node->ref.vaddr[i])
			continue;
		if (node->node && node->bad[i])
			cfs_check_say(k, "node",
				      "tree %u: level %u: copy %u "
				      "at %#" PRIx64 " is bad, another is good",
				      node->tree_id, node->level, i,
				      node->ref.vaddr[i]);
		if (cfs_check_own(k, node->ref.vaddr[i], 1, "a node") &&
		    node->node)
			r = expect_node(k, node, i);
	}
	if (node->node && node->ref.stamp > k->stamp)
		cfs_check_say(k, "node",
			      "tree %u: node at %#" PRIx64
			      " is newer than the root",
			      node->tree_id, node->ref.vaddr[0]);
	if (r < 0)
		return r;
	if (node->node && node->level == 0)
		k->result->records += cfs_repair_record_count(node->node);
	return node->node && node->level == 0;
}

/* ---- one container ------------------------------------------------------- */

static void container_done(struct check *k)
{
	for (uint64_t l = 0; l < k->lslice_end; l++)
		free(k->owned[l]);
	free(k->owned);
	k->owned = NULL;
	k->lslice_end = 0;
	for (size_t i = 0; i < k->branches.count; i++)
		cfs_vec_done(&k->branches.items[i].pins);
	cfs_vec_done(&k->branches);
	cfs_vec_done(&k->volumes);
	cfs_vec_done(&k->snapshots);
	cfs_vec_done(&k->names);
	cfs_vec_done(&k->runs);
}

static int container_begin(struct check *k)
{
	const struct cfs_root *root = cfs_container_root(k->c);
	struct cfs_piece pieces[CFS_PIECES_MAX];

	k->mv = cfs_container_metavolume(k->c);
	k->geo = cfs_metavolume_geometry(k->mv);
	k->stamp = root->stamp;
	k->next_ino = root->next_ino;
	k->seed = cfs_blocks_seed(cfs_container_blocks(k->c));
	k->owned_count = 0;
	k->has_lost_nodes = false;
	k->owned = calloc(cfs_metavolume_end(k->mv) + 1, sizeof(*k->owned));
	if (!k->owned)
		return cfs_err_set(k->err, -ENOMEM, "out of memory");
	k->lslice_end = cfs_metavolume_end(k->mv);
	for (uint64_t l = 0; l < k->lslice_end; l++) {
		if (!cfs_metavolume_get(k->mv, l, pieces))
			continue;
		k->owned[l] = calloc(k->geo->data_count / 64 + 1,
				     sizeof(**k->owned));
		if (!k->owned[l])
			return cfs_err_set(k->err, -ENOMEM, "out of memory");
	}
	return 0;
}

/* Everything that wants the lock. */
static int metadata(struct check *k)
{
	int r = container_begin(k);

	if (r == 0)
		r = cfs_check_roots(k);
	if (r == 0)
		r = cfs_check_tables(k);
	if (r == 0 && k->m)
		r = cfs_check_maps(k);
	if (r == 0)
		r = cfs_check_space(k);
	if (r == 0)
		r = cfs_check_tags(k, true);
	return r;
}

static int check_container(struct check *k, struct cfs_container *c,
			   struct cfs_member *m, const char *name)
{
	struct cfs_err why = CFS_ERR_INIT;
	int r, r2;

	k->c = c;
	k->m = m;
	k->name = name;
	k->result->containers += m != NULL;
	/* What stands in memory only is compared with nothing, and nobody
	 * changes it meanwhile. */
	if (cfs_container_freeze(c, &why) < 0)
		cfs_check_say(k, "container", "it cannot be committed: %s",
			      why.msg);
	cfs_container_lock(c);
	r = metadata(k);
	cfs_container_unlock(c);
	r2 = cfs_check_flush(k);
	if (r == 0)
		r = r2;
	if (r == 0 && m)
		r = cfs_check_trees(k);
	cfs_container_thaw(c);
	container_done(k);
	return r;
}

static int check_by_id(struct check *k, uint64_t id,
		       const struct cfs_container_rec *rec)
{
	struct cfs_err why = CFS_ERR_INIT;
	struct cfs_member *m;
	int r = cfs_pool_member_by_id(k->pool, id, &m, &why);

	k->name = rec->name;
	/* Whoever serves it looks at it. */
	if (r == -EREMOTE)
		return k->opt->container ? cfs_err_set(k->err, r, "%s", why.msg)
					 : 0;
	if (r < 0) {
		cfs_check_say(k, "container", "it cannot be opened: %s",
			      why.msg);
		return cfs_check_flush(k);
	}
	return check_container(k, m->container, m, rec->name);
}

/* ---- all of them --------------------------------------------------------- */

/* With those that are still being filled. */
static int list_all(void *arg, uint64_t id, const struct cfs_container_rec *rec,
		    struct cfs_err *err)
{
	struct check *k = arg;
	const struct check_container entry = { .id = id, .rec = *rec };

	if (rec->state == CFS_OBJECT_DELETING)
		return 0;
	if (cfs_vec_push(&k->containers, entry) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static int list_one(void *arg, uint64_t id, const struct cfs_container_rec *rec,
		    struct cfs_err *err)
{
	return rec->state == CFS_OBJECT_LIVE ? list_all(arg, id, rec, err) : 0;
}

static int by_id(const void *a, const void *b)
{
	const struct check_container *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/*
 * Containers take and give back slices when they change.  In the order of
 * their numbers, as whoever needs several.  All are open behind this: who
 * waits for the thaw keeps nobody from finding them.
 */
static void freeze_all(struct check *k, struct cfs_container **ret)
{
	for (size_t i = 0; i < k->containers.count; i++) {
		struct cfs_member *m;

		/* What cannot be opened or committed is told in its turn. */
		if (cfs_pool_member_by_id(k->pool, k->containers.items[i].id,
					  &m, NULL) == 0)
			ret[i] = m->container;
	}
	for (size_t i = 0; i < k->containers.count; i++)
		if (ret[i])
			(void)cfs_container_freeze(ret[i], NULL);
}

static int check_slices(struct check *k)
{
	int r;

	k->name = "";
	r = cfs_check_devices(k);
	if (r == 0)
		r = cfs_check_flush(k);
	if (r == 0)
		r = check_container(k, cfs_pool_container0(k->pool), NULL, "");
	if (r == 0)
		r = cfs_check_slices(k);
	if (r == 0)
		r = cfs_check_flush(k);
	return r;
}

static int check_pool(struct check *k)
{
	CFS_CLEANUP(cfs_freep) struct cfs_container **frozen = NULL;
	size_t count;
	int r = cfs_pool_containers(k->pool, list_all, k, k->err);

	if (r < 0)
		return r;
	frozen = calloc(k->containers.count + 1, sizeof(*frozen));
	if (!frozen)
		return cfs_err_set(k->err, -ENOMEM, "out of memory");
	if (k->containers.count > 1)
		qsort(k->containers.items, k->containers.count,
		      sizeof(*k->containers.items), by_id);
	freeze_all(k, frozen);
	count = k->containers.count;
	k->containers.count = 0; /* for whoever lists them next */
	r = check_slices(k);
	k->containers.count = 0;
	for (size_t i = 0; i < count; i++)
		if (frozen[i])
			cfs_container_thaw(frozen[i]);
	return r;
}

int cfs_pool_check(struct cfs_pool *pool, const struct cfs_check_options *opt,
		   struct cfs_check_result *ret, struct cfs_err *err)
{
	struct check k = {
		.pool = pool,
		.opt = opt,
		.result = ret,
		.err = err,
		.name = "",
	};
	bool was_found = !opt->container;
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	if (!opt->container)
		r = check_pool(&k);
	if (r == 0)
		r = cfs_pool_containers(pool, list_one, &k, err);
	for (size_t i = 0; i < k.containers.count && r == 0; i++) {
		const struct check_container *at = &k.containers.items[i];

		if (opt->container && strcmp(opt->container, at->rec.name))
			continue;
		was_found = true;
		r = check_by_id(&k, at->id, &at->rec);
	}
	if (r == 0 && !was_found)
		r = cfs_err_set(err, -ENOENT, "no such volume");
	cfs_vec_done(&k.containers);
	cfs_vec_done(&k.slices);
	cfs_vec_done(&k.maps);
	cfs_vec_done(&k.notes);
	return r;
}
