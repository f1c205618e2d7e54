/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The lock table against a naive one: a list, and loops over it that say what
 * lock.h promises and nothing more.  Random histories of few resources and
 * many conflicts; behind each step both must agree on who has what and who
 * waits.  A failure prints the seed; CFS_SEED runs one history again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/rng.h"
#include "lease/lock.h"

#define SLOTS 24u
#define STEPS 300u

struct naive {
	bool is_used, is_waiting;
	struct cfs_lock_request req;
	uint32_t upgrade; /* mode that is waited for, or NONE */
	uint64_t ticket;  /* while it waits, also to upgrade */
	struct cfs_lock *lock;
};

static struct naive slots[SLOTS];
static struct cfs_lock_table *table;
static uint64_t next_ticket, next_upgrade;
static struct cfs_rng rng;

/* ---- what the contract says ---------------------------------------------- */

static bool agree(uint32_t a, uint32_t b)
{
	static const char rows[6][7] = { "++++++", "+++++-", "+++---",
					 "++-+--", "++----", "+-----" };

	return rows[a][b] == '+';
}

static bool is_whole(const struct cfs_lock_resource *r)
{
	return r->offset_bytes == 0 && r->length_bytes == UINT64_MAX;
}

static uint32_t intent(uint32_t mode)
{
	return mode == CFS_LOCK_IS || mode == CFS_LOCK_S ? CFS_LOCK_IS
							 : CFS_LOCK_IX;
}

static uint64_t last(const struct cfs_lock_resource *r)
{
	return is_whole(r) ? UINT64_MAX : r->offset_bytes + r->length_bytes - 1;
}

/* The mode at a level (0, 1, 2: container, volume, file; 3: bytes) or 0. */
static uint32_t mode_at(const struct cfs_lock_resource *r, uint32_t mode,
			unsigned int level)
{
	unsigned int own = !r->volume ? 0 : !r->ino ? 1 : is_whole(r) ? 2 : 3;

	return level > own ? 0 : level == own ? mode : intent(mode);
}

/* Do they meet at the level? */
static bool meets(const struct cfs_lock_resource *a,
		  const struct cfs_lock_resource *b, unsigned int level)
{
	if (a->container != b->container ||
	    (level > 0 && a->volume != b->volume) ||
	    (level > 1 && a->ino != b->ino))
		return false;
	return level < 3 ||
	       (a->offset_bytes <= last(b) && b->offset_bytes <= last(a));
}

static bool clash_at(const struct cfs_lock_request *a, uint32_t mode_a,
		     const struct cfs_lock_request *b, uint32_t mode_b,
		     unsigned int level)
{
	uint32_t x = mode_at(&a->resource, mode_a, level);
	uint32_t y = mode_at(&b->resource, mode_b, level);

	return x && y && meets(&a->resource, &b->resource, level) &&
	       !agree(x, y);
}

static bool is_same(struct cfs_lock_holder a, struct cfs_lock_holder b)
{
	return a.client && a.client == b.client && a.key == b.key;
}

static bool is_family(const struct cfs_lock_request *a,
		      const struct cfs_lock_request *b)
{
	return is_same(a->holder, b->holder) || is_same(a->lender, b->holder) ||
	       is_same(a->holder, b->lender);
}

/*
 * Does what @held has at @l, which is @level or above it, give all of @want
 * at @level?
 */
static bool covers_from(const struct cfs_lock_request *held, unsigned int l,
			const struct cfs_lock_request *want, uint32_t mode,
			unsigned int level)
{
	uint32_t need = mode_at(&want->resource, mode, level);
	uint32_t has = mode_at(&held->resource, held->mode, l);

	if (!has || !meets(&held->resource, &want->resource, l))
		return false;
	if (l == 3)
		return held->resource.offset_bytes <=
			       want->resource.offset_bytes &&
		       last(&held->resource) >= last(&want->resource) &&
		       cfs_lock_mode_covers(has, need);
	if (l == level)
		return cfs_lock_mode_covers(has, need);
	return has == CFS_LOCK_X ||
	       ((has == CFS_LOCK_S || has == CFS_LOCK_SIX) &&
		(mode == CFS_LOCK_S || mode == CFS_LOCK_IS));
}

/*
 * What is held under a lender counts for those under the same, except for
 * byte ranges, where it counts for all of the holder.
 */
static bool covers_at(const struct cfs_lock_request *held,
		      struct cfs_lock_holder lender,
		      const struct cfs_lock_request *want, uint32_t mode,
		      unsigned int level)
{
	for (unsigned int l = 0; l <= level; l++)
		if ((l == 3 || !held->lender.client ||
		     is_same(held->lender, lender)) &&
		    covers_from(held, l, want, mode, level))
			return true;
	return false;
}

enum { COVER_NONE, COVER_LENDER, COVER_OWN };

static int cover_at(const struct cfs_lock_request *want, uint32_t mode,
		    unsigned int level)
{
	int cover = COVER_NONE;

	for (size_t i = 0; i < SLOTS; i++) {
		const struct naive *n = &slots[i];

		if (!n->is_used || n->is_waiting)
			continue;
		if (is_same(n->req.holder, want->holder) &&
		    covers_at(&n->req, want->lender, want, mode, level))
			return COVER_OWN;
		if (is_same(n->req.holder, want->lender) &&
		    covers_at(&n->req, (struct cfs_lock_holder){ 0, 0 }, want,
			      mode, level))
			cover = COVER_LENDER;
	}
	return cover;
}

static bool is_granted_clash(const struct cfs_lock_request *want, uint32_t mode)
{
	for (size_t i = 0; i < SLOTS; i++) {
		const struct naive *n = &slots[i];

		if (!n->is_used || n->is_waiting || is_family(&n->req, want))
			continue;
		for (unsigned int l = 0; l < 4; l++)
			if (clash_at(&n->req, n->req.mode, want, mode, l))
				return true;
	}
	return false;
}

static bool is_behind(const struct cfs_lock_request *want, uint32_t mode,
		      uint64_t ticket)
{
	for (size_t i = 0; i < SLOTS; i++) {
		const struct naive *n = &slots[i];
		uint32_t wants = n->is_waiting ? n->req.mode : n->upgrade;

		if (!n->is_used || (!n->is_waiting && !n->upgrade) ||
		    n->ticket >= ticket || is_family(&n->req, want))
			continue;
		for (unsigned int l = 0; l < 4; l++) {
			int cover;

			if (!clash_at(&n->req, wants, want, mode, l))
				continue;
			cover = cover_at(want, mode, l);
			if (cover == COVER_NONE ||
			    (cover == COVER_LENDER &&
			     is_same(n->req.lender, want->lender)))
				return true;
		}
	}
	return false;
}

static bool may_go(const struct cfs_lock_request *want, uint32_t mode,
		   uint64_t ticket)
{
	return !is_granted_clash(want, mode) && !is_behind(want, mode, ticket);
}

/* Grant in order of tickets until nothing more can be. */
static void settle(void)
{
	for (;;) {
		struct naive *best = NULL;

		for (size_t i = 0; i < SLOTS; i++) {
			struct naive *n = &slots[i];

			if (n->is_used && (n->is_waiting || n->upgrade) &&
			    (!best || n->ticket < best->ticket) &&
			    may_go(&n->req,
				   n->is_waiting ? n->req.mode : n->upgrade,
				   n->ticket))
				best = n;
		}
		if (!best)
			return;
		if (best->upgrade)
			best->req.mode = best->upgrade;
		best->upgrade = 0;
		best->is_waiting = false;
	}
}

/* ---- steps --------------------------------------------------------------- */

static void request_make(struct cfs_lock_request *req, struct naive *slot)
{
	unsigned int shape = (unsigned int)cfs_rng_below(&rng, 10);

	*req = (struct cfs_lock_request){
		.resource = { 1, 0, 0, 0, UINT64_MAX },
		.holder = { 1 + cfs_rng_below(&rng, 4),
			    cfs_rng_below(&rng, 4) == 0 },
		.flags = cfs_rng_below(&rng, 4) ? CFS_LOCK_REQ_WAIT : 0,
		.user = slot,
	};
	if (cfs_rng_below(&rng, 5) == 0) {
		req->lender.client = 1 + cfs_rng_below(&rng, 4);
		if (req->lender.client == req->holder.client)
			req->lender.client = 0;
	}
	/* All are recallable: circles are tried elsewhere. */
	req->flags |= CFS_LOCK_REQ_RECALLABLE;
	if (shape > 0)
		req->resource.volume = 1 + cfs_rng_below(&rng, 2);
	if (shape > 1)
		req->resource.ino = 1 + cfs_rng_below(&rng, 2);
	if (shape > 3) {
		req->resource.offset_bytes = cfs_rng_below(&rng, 12);
		req->resource.length_bytes = 1 + cfs_rng_below(&rng, 6);
		req->mode = cfs_rng_below(&rng, 2) ? CFS_LOCK_S : CFS_LOCK_X;
	} else {
		req->mode = CFS_LOCK_IS + (uint32_t)cfs_rng_below(&rng, 5);
	}
}

static void step_request(struct naive *slot)
{
	struct cfs_lock_request req;
	struct cfs_lock *lock = NULL;
	bool may;
	int r;

	request_make(&req, slot);
	may = may_go(&req, req.mode, next_ticket);
	r = cfs_lock_request(table, &req, &lock, NULL);
	if (r == -EDEADLK)
		return; /* through an upgrade: both are as before */
	if (!may && !(req.flags & CFS_LOCK_REQ_WAIT)) {
		assert_int_equal(r, -EBUSY);
		return;
	}
	assert_int_equal(r, 0);
	assert_int_equal(cfs_lock_is_waiting(lock), !may);
	*slot = (struct naive){ .is_used = true,
				.is_waiting = !may,
				.req = req,
				.ticket = next_ticket++,
				.lock = lock };
}

static void step_upgrade(struct naive *slot)
{
	uint32_t mode = CFS_LOCK_IS + (uint32_t)cfs_rng_below(&rng, 5);
	bool may;
	int r;

	mode = cfs_lock_mode_join(slot->req.mode, mode);
	if (!cfs_lock_resource_is_valid(&slot->req.resource, mode) ||
	    slot->upgrade || mode == slot->req.mode)
		return;
	may = may_go(&slot->req, mode, next_upgrade);
	r = cfs_lock_upgrade(slot->lock, mode, true, NULL);
	if (r == -EDEADLK)
		return;
	assert_int_equal(r, 0);
	assert_int_equal(cfs_lock_is_upgrading(slot->lock), !may);
	if (may) {
		slot->req.mode = mode;
	} else {
		slot->upgrade = mode;
		slot->ticket = next_upgrade++;
	}
}

static void step_downgrade(struct naive *slot)
{
	uint32_t mode = CFS_LOCK_IS + (uint32_t)cfs_rng_below(&rng, 5);

	if (cfs_lock_downgrade(slot->lock, mode, NULL) == 0) {
		slot->req.mode = mode;
		slot->upgrade = 0;
	}
}

static void step(void)
{
	struct naive *slot = &slots[cfs_rng_below(&rng, SLOTS)];

	if (!slot->is_used) {
		step_request(slot);
	} else if (slot->is_waiting || cfs_rng_below(&rng, 2)) {
		cfs_lock_release(slot->lock);
		slot->is_used = false;
	} else {
		switch (cfs_rng_below(&rng, 3)) {
		case 0:
			step_upgrade(slot);
			break;
		case 1:
			step_downgrade(slot);
			break;
		default:
			cfs_lock_upgrade_cancel(slot->lock);
			slot->upgrade = 0;
			break;
		}
	}
	settle();
}

static void compare(void)
{
	const char *bad = cfs_lock_table_check(table);

	if (bad)
		fail_msg("%s", bad);
	for (size_t i = 0; i < SLOTS; i++) {
		const struct naive *n = &slots[i];

		if (!n->is_used)
			continue;
		assert_int_equal(cfs_lock_is_waiting(n->lock), n->is_waiting);
		assert_int_equal(cfs_lock_is_upgrading(n->lock),
				 n->upgrade != 0);
		assert_int_equal(cfs_lock_mode_of(n->lock), n->req.mode);
		assert_ptr_equal(cfs_lock_user(n->lock), n);
	}
}

static void on_granted(void *arg, struct cfs_lock *lock)
{
	unsigned int *count = arg;

	assert_false(cfs_lock_is_waiting(lock));
	(*count)++;
}

static uint64_t seed_now;

static void history(uint64_t seed)
{
	unsigned int granted = 0;

	seed_now = seed;
	cfs_rng_init(&rng, seed);
	memset(slots, 0, sizeof(slots));
	next_ticket = UINT64_C(1) << 63;
	next_upgrade = 1;
	assert_int_equal(
		cfs_lock_table_new(NULL, on_granted, &granted, &table, NULL),
		0);
	for (unsigned int i = 0; i < STEPS; i++) {
		step();
		compare();
	}
	if (seed % 2) { /* by hand, or all at once */
		for (size_t i = 0; i < SLOTS; i++)
			if (slots[i].is_used)
				cfs_lock_release(slots[i].lock);
		assert_int_equal(cfs_lock_table_count(table), 0);
	}
	cfs_lock_table_free(table);
}

static void test_histories(void **state)
{
	const char *one = getenv("CFS_SEED");
	uint64_t count = getenv("CFS_LONG") ? 5000 : 300;

	(void)state;
	if (one) {
		history(strtoull(one, NULL, 0));
		return;
	}
	for (uint64_t seed = 1; seed <= count; seed++)
		history(seed);
	seed_now = 0;
}

static int tell_seed(void **state)
{
	(void)state;
	if (seed_now)
		printf("# failed with CFS_SEED=%llu\n",
		       (unsigned long long)seed_now);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_histories, tell_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
