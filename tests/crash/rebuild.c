/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Rebuild: random histories of a LUN with snapshots, clones of clones,
 * rollbacks and scrubs, then every node and root of its container is zeroed,
 * found by this test from the format alone.  What is rebuilt must read as a
 * plain model in memory says, at every head and in every snapshot, and check
 * clean; and it must go on working, to be lost and rebuilt once more.
 *
 *   rebuild [FIRST_SEED [COUNT]]
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heal/check.h"
#include "heal/rebuild.h"
#include "rebuild_lose.h"
#include "rebuild_world.h"

#define OPS       70u
#define OPS_AFTER 25u

static struct loss all_lost;
static uint64_t all_dropped;

/* ---- compare ------------------------------------------------------------ */

static int compare_view(struct world *w, const struct cfs_view *view,
			uint64_t ino, const uint8_t *data, uint64_t size,
			const char *what)
{
	static uint8_t buf[SIZE_MAX_BYTES];
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	cfs_container_lock(w->m->container);
	r = cfs_data_read(view, ino, 0, buf, size, NULL, &err);
	cfs_container_unlock(w->m->container);
	if (r < 0)
		return fail(w, "%s: read: %s", what, err.msg);
	for (uint64_t i = 0; i < size; i++)
		if (buf[i] != data[i])
			return fail(w, "%s: differs at %llu (block %llu)", what,
				    (unsigned long long)i,
				    (unsigned long long)(i / BLOCK));
	return 0;
}

static int compare(struct world *w)
{
	for (unsigned int i = 0; i < VOLUMES_MAX; i++) {
		struct model_volume *v = &w->volumes[i];
		struct cfs_volume_rec rec;
		struct cfs_view view;
		char what[64];

		if (!v->is_there)
			continue;
		if (get_volume(w, v, &rec) < 0)
			return -1;
		(void)snprintf(what, sizeof(what), "volume %llu",
			       (unsigned long long)v->id);
		if (rec.size_bytes != v->size)
			return fail(w, "%s: size", what);
		cfs_volume_view(w->m, &rec, &view);
		if (compare_view(w, &view, rec.ino, v->data, v->size, what) < 0)
			return -1;
	}
	for (unsigned int i = 0; i < SNAPS_MAX; i++) {
		struct model_snap *s = &w->snaps[i];
		struct model_volume *v = &w->volumes[s->volume];
		struct cfs_snapshot_rec snap;
		struct cfs_volume_rec rec;
		struct cfs_view view = { .container = w->m->container };

		if (!s->is_there)
			continue;
		if (get_volume(w, v, &rec) < 0)
			return -1;
		DO(w, cfs_snapshot_find(w->m, v->id, s->name, &view.stamp,
					&snap, &err));
		view.branch = (uint16_t)snap.branch;
		if (compare_view(w, &view, rec.ino, s->data, s->size, s->name) <
		    0)
			return -1;
	}
	return 0;
}

static int see_problem(void *arg, const struct cfs_problem *p)
{
	struct world *w = arg;

	if (!w->why[0])
		(void)fail(w, "check: %s: %s", p->kind, p->text);
	return 0;
}

static int check(struct world *w)
{
	const struct cfs_check_options opt = { .each = see_problem, .arg = w };
	struct cfs_check_result result;

	DO(w, cfs_pool_check(w->pool, &opt, &result, &err));
	return result.problems ? -1 : 0;
}

/* ---- the loss ----------------------------------------------------------- */

/* Nodes and roots of all containers but, mostly, the pool's own. */
static int lose(struct world *w, bool with_pool, struct loss *loss)
{
	uint8_t *slice = malloc(SLICE_BYTES);
	int r = 0;

	memset(loss, 0, sizeof(*loss));
	for (uint32_t d = 0; d < cfs_devset_count(w->set) && slice; d++) {
		struct cfs_dev *dev = cfs_devset_dev(w->set, d);
		uint64_t at = UINT64_C(1) << 20;

		for (; at + SLICE_BYTES <= DEVICE_BYTES - 65536 && r == 0;
		     at += SLICE_BYTES) {
			uint64_t container = 0;
			uint32_t generation;

			r = cfs_dev_read(dev, at, slice, SLICE_BYTES, NULL);
			generation = slice_owner(slice, &container);
			if (!generation || (container == 0 && !with_pool))
				continue;
			lose_slice(slice, generation, loss);
			r = cfs_dev_write(dev, at, slice, SLICE_BYTES, NULL);
		}
	}
	free(slice);
	return r < 0 || !slice ? fail(w, "the loss failed") : 0;
}

/* ---- a round ------------------------------------------------------------ */

static int find_lun(void *arg, uint64_t id, const struct cfs_container_rec *rec,
		    struct cfs_err *err)
{
	uint64_t *ret = arg;

	(void)err;
	if (strcmp(rec->name, "lun") == 0)
		*ret = id;
	return 0;
}

static int lose_and_rebuild(struct world *w, bool with_pool)
{
	struct cfs_rebuild_result result;
	struct cfs_member *m;
	struct loss loss;
	uint64_t id = 0;

	if (w->seed % 2 && op_scrub(w) < 0)
		return -1;
	if (pool_close(w) < 0 || lose(w, with_pool, &loss) < 0)
		return -1;
	if (loss.nodes == 0 || loss.roots < 2)
		return fail(w, "nothing was lost: the test does not work");
	all_lost.nodes += loss.nodes;
	all_lost.inner += loss.inner;
	all_lost.roots += loss.roots;
	note(w, "lose %u nodes, %u inner, %u roots\n", loss.nodes, loss.inner,
	     loss.roots);
	if (with_pool) {
		const struct cfs_pool_options opt = { .was_clean = true };

		if (cfs_pool_open(w->set, ++w->epoch, w->roots, &opt, &w->pool,
				  NULL) == 0)
			return fail(w, "the pool opens without a root");
		w->pool = NULL;
		DO(w, cfs_rebuild_pool(w->set, ++w->epoch, w->roots, &result,
				       &err));
	}
	if (pool_open(w, true) < 0)
		return -1;
	DO(w, cfs_pool_containers(w->pool, find_lun, &id, &err));
	if (cfs_pool_member(w->pool, "lun", &m, NULL) == 0)
		return fail(w, "the container opens without a root");
	DO(w, cfs_rebuild_container(w->pool, id, &result, &err));
	note(w, "rebuilt: %llu live, %llu history, %llu garbage\n",
	     (unsigned long long)result.live_blocks,
	     (unsigned long long)result.history_blocks,
	     (unsigned long long)result.garbage_blocks);
	if (member_open(w) < 0 || compare(w) < 0 || check(w) < 0)
		return -1;
	return 0;
}

static int history(struct world *w, uint64_t seed)
{
	const bool with_pool = seed % 3 == 0;

	if (world_begin(w, seed) < 0)
		return -1;
	if (seed % 8 == 5 && many_holes(w) < 0)
		return -1;
	for (unsigned int i = 0; i < OPS; i++)
		if (one_op(w) < 0)
			return -1;
	if (compare(w) < 0 || check(w) < 0)
		return because(w, "before the loss");
	if (lose_and_rebuild(w, with_pool) < 0)
		return -1;
	note(w, "and on\n");
	for (unsigned int i = 0; i < OPS_AFTER; i++)
		if (one_op(w) < 0)
			return -1;
	if (compare(w) < 0 || check(w) < 0)
		return because(w, "going on");
	return lose_and_rebuild(w, false);
}

static bool run(uint64_t first, uint64_t count)
{
	static struct world w;

	for (uint64_t seed = first; seed < first + count; seed++) {
		int r = history(&w, seed);

		world_end(&w);
		all_dropped += w.dropped;
		if (r == 0)
			continue;
		printf("# seed %llu: %s\n", (unsigned long long)seed, w.why);
		for (char *line = strtok(w.log, "\n"); line;
		     line = strtok(NULL, "\n"))
			printf("#   %s\n", line);
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : 400;
	const uint64_t parts = count < 8 ? 1 : 8;
	bool is_good = true;

	printf("1..%llu\n", (unsigned long long)parts);
	for (uint64_t i = 0; i < parts; i++) {
		uint64_t from = first + i * count / parts;
		uint64_t n = first + (i + 1) * count / parts - from;
		bool part = run(from, n);

		is_good &= part;
		printf("%s %llu - rebuilt as the model says, seeds %llu to "
		       "%llu\n",
		       part ? "ok" : "not ok", (unsigned long long)i + 1,
		       (unsigned long long)from,
		       (unsigned long long)(from + n - 1));
		(void)fflush(stdout);
	}
	printf("# lost and made anew: %u nodes of maps, %u inner ones of "
	       "tables, %u roots; dropped by scrubs: %llu tombstones\n",
	       all_lost.nodes, all_lost.inner, all_lost.roots,
	       (unsigned long long)all_dropped);
	if (count >= 100 && all_dropped == 0) {
		printf("not ok - no tombstone was dropped\n");
		is_good = false;
	}
	if (count >= 100 && all_lost.inner == 0) {
		printf("not ok - no inner node of the tables was lost\n");
		is_good = false;
	}
	return is_good ? 0 : 1;
}
