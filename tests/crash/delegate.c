// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A container goes to a secondary, is worked on, and comes home, by a return or
 * by a takeover: the power fails behind any write of anybody, with any of what
 * was not flushed lost.  Whoever opens the pool then finds the container at
 * home, or delegated; in that case both ways home are tried.  All that was
 * acknowledged is there, every block verifies, and no slice is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../unit/delegate_cells.h"

#include <stdio.h>

#define STATES_MAX 256u

/* What was known at an event. */
struct known {
	size_t event;
	struct cells cells;
};

struct tale {
	struct shared_pool p;
	struct manager a;
	struct secondary s;
	struct cells cells;
	struct known *known;
	size_t known_count;
	bool is_shared;
	uint64_t recovered, delegated;
};

static void remember(struct tale *t)
{
	assert_true(t->known_count < STATES_MAX);
	t->known[t->known_count++] = (struct known){
		.event = cfs_sim_event_count(t->p.sim),
		.cells = t->cells,
	};
}

static void write_some(struct tale *t, struct cfs_member *lun, uint64_t block,
		       uint32_t count)
{
	assert_int_equal(cells_write(&t->cells, lun, block, count), 0);
	remember(t);
}

static void acked(struct tale *t)
{
	cells_acked(&t->cells);
	remember(t);
}

static void work(struct tale *t, struct cfs_member *lun)
{
	for (unsigned int i = 0; i < 2; i++) {
		write_some(t, lun, i, 5);
		HEAL_OK(cfs_container_sync(lun->container, &err_));
		acked(t);
		write_some(t, lun, 10, 40);
		HEAL_OK(cfs_container_sync(lun->container, &err_));
		acked(t);
		write_some(t, lun, 3, 2);
		HEAL_OK(cfs_container_commit(lun->container, &err_));
		acked(t);
		/* More slices, and one that goes back. */
		assert_int_equal(lun_write(lun, 256, 1024, i + 1), 0);
		HEAL_OK(cfs_container_sync(lun->container, &err_));
	}
}

static void give_back(struct secondary *s)
{
	const struct cfs_volume_rec rec = heal_volume(s->lun);
	uint64_t slices;

	HEAL_OK(cfs_op_begin(s->lun->container, CFS_OP_FREEING, &err_));
	HEAL_OK(cfs_data_punch(s->lun->container, (uint16_t)rec.head_branch,
			       rec.ino, 256 * HEAL_BLOCK, 1024 * HEAL_BLOCK,
			       &err_));
	cfs_op_end(s->lun->container);
	HEAL_OK(cfs_pool_reclaim(s->pool, s->lun, &slices, &err_));
	assert_true(slices > 0);
}

/* ---- the tale ------------------------------------------------------------ */

static void tell(struct tale *t, bool is_returned)
{
	struct cfs_member *lun;

	manager_init(&t->p, &t->a, "a", 1, NO_DEVICE, NULL);
	manager_open(&t->p, &t->a, NULL);
	HEAL_OK(cfs_pool_container_make(t->a.pool, "lun", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &lun, &err_));
	HEAL_OK(cfs_volume_make_first(lun, CFS_VOLUME_LUN, UINT64_C(8) << 20,
				      &err_));
	HEAL_OK(cfs_container_commit(lun->container, &err_));
	write_some(t, lun, 0, CELLS);
	HEAL_OK(cfs_container_sync(lun->container, &err_));
	cells_acked(&t->cells);
	t->known_count = 0;
	cfs_sim_checkpoint(t->p.sim);
	remember(t);
	secondary_begin(&t->p, &t->s, &t->a, NULL);
	work(t, t->s.lun);
	give_back(&t->s);
	if (is_returned) {
		secondary_close(&t->s);
		HEAL_OK(cfs_pool_delegation_end(t->a.pool, t->s.container,
						t->s.epoch, &err_));
	} else {
		write_some(t, t->s.lun, 7, 2);
		HEAL_OK(cfs_container_sync(t->s.lun->container, &err_));
		acked(t);
		HEAL_OK(cfs_pool_delegation_seal(t->a.pool, t->s.container,
						 t->s.epoch, &err_));
	}
	work(t, manager_lun(&t->a));
	if (!is_returned) {
		secondary_drop(&t->s);
		HEAL_OK(cfs_pool_delegation_end(t->a.pool, t->s.container,
						t->s.epoch, &err_));
		HEAL_OK(cfs_pool_member_close(t->a.pool, manager_lun(&t->a),
					      &err_));
		cells_look(&t->cells, manager_lun(&t->a), "tale");
	}
}

/* ---- what a crash leaves ------------------------------------------------- */

/* The newest numbers that anybody may have seen written by then. */
static struct cells known_at(const struct tale *t, size_t event)
{
	struct cells cells;
	size_t i = 0;

	while (i + 1 < t->known_count && t->known[i + 1].event <= event)
		i++;
	cells = t->known[i].cells;
	/* What is written next may be there in part. */
	if (i + 1 < t->known_count) {
		const struct cells *next = &t->known[i + 1].cells;

		for (unsigned int c = 0; c < CELLS; c++) {
			struct cell *at = &cells.list[c];

			for (unsigned int k = at->count;
			     k < next->list[c].count; k++)
				at->pending[at->count++] =
					next->list[c].pending[k];
		}
	}
	return cells;
}

static void come_home(struct manager *m, bool is_sealed)
{
	struct cfs_delegation d;
	struct cfs_member *lun;
	int r;

	r = cfs_pool_member(m->pool, "lun", &lun, NULL);
	if (r != -EREMOTE) {
		assert_int_equal(r, 0);
		return;
	}
	HEAL_OK(cfs_pool_delegation_find(m->pool, 1, &d, &err_));
	if (is_sealed)
		HEAL_OK(cfs_pool_delegation_seal(m->pool, d.container, d.epoch,
						 &err_));
	else
		HEAL_OK(cfs_pool_delegation_end(m->pool, d.container, d.epoch,
						&err_));
}

static void judge(struct tale *t, size_t event, uint64_t seed, bool is_sealed)
{
	const struct cfs_sim_crash crash = {
		.event_count = event,
		.seed = seed,
	};
	struct cells cells = known_at(t, event);
	struct shared_pool p = t->p;
	struct manager m;

	HEAL_OK(cfs_sim_fork(t->p.sim, &crash, &p.sim, &err_));
	manager_init(&p, &m, "a", 2, NO_DEVICE, NULL);
	manager_open(&p, &m, NULL);
	come_home(&m, is_sealed);
	cells_look(&cells, manager_lun(&m), "behind the crash");
	manager_check(&m);
	assert_int_equal(lun_write(manager_lun(&m), 256, 300, 9), 0);
	HEAL_OK(cfs_container_commit(manager_lun(&m)->container, &err_));
	manager_check(&m);
	manager_close(&m);
	shared_free(&p);
	t->recovered++;
}

static void crash_all(bool is_shared, unsigned int devices, bool is_returned)
{
	struct tale *t = calloc(1, sizeof(*t));
	const size_t step = getenv("CFS_LONG") ? 1 : 3;
	uint64_t seed = 77;
	size_t count;

	assert_non_null(t);
	t->known = calloc(STATES_MAX, sizeof(*t->known));
	assert_non_null(t->known);
	t->p = delegate_pool_new(is_shared, devices);
	tell(t, is_returned);
	count = cfs_sim_event_count(t->p.sim);
	for (size_t at = 0; at <= count; at += step) {
		judge(t, at, 0, at & 1);
		judge(t, at, UINT64_MAX, !(at & 1));
		seed++;
		judge(t, at, seed, seed & 1);
	}
	printf("# %" PRIu64 " recoveries of %zu events\n", t->recovered, count);
	manager_close(&t->a);
	shared_free(&t->p);
	free(t->known);
	free(t);
}

static void one_host_return(void **state)
{
	(void)state;
	crash_all(false, 1, true);
}

static void one_host_takeover(void **state)
{
	(void)state;
	crash_all(false, 1, false);
}

static void shared_return(void **state)
{
	(void)state;
	crash_all(true, 1, true);
}

static void shared_takeover(void **state)
{
	(void)state;
	crash_all(true, 1, false);
}

static void mirror_takeover(void **state)
{
	(void)state;
	crash_all(false, 2, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_host_return),
		cmocka_unit_test(one_host_takeover),
		cmocka_unit_test(shared_return),
		cmocka_unit_test(shared_takeover),
		cmocka_unit_test(mirror_takeover),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
