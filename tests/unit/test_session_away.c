/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A client that knows a container, has nothing in it, and stands still while
 * the container is delegated: the manager grants it nothing there any more, and
 * it gets what it asks for of whoever has the container.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "away_fixture.h"

static uint64_t away, home; /* containers */

static int make_pool(void **state)
{
	(void)state;
	make_manager("60s");
	away = make_volume("away", CFS_VOLUME_LUN);
	home = make_volume("home", CFS_VOLUME_LUN);
	return 0;
}

static bool count(void *arg, const struct cfs_lease_record *record)
{
	unsigned int *n = arg;

	*n += record->kind == CFS_RECORD_LEASE &&
	      record->u.lease.resource.container == away;
	return true;
}

static unsigned int leases_of(const struct party *p)
{
	unsigned int n = 0;

	cfs_owner_each(cfs_serve_lock(p->serve), 0, 0, count, &n);
	cfs_serve_unlock(p->serve);
	return n;
}

/* ------------------------------------------------------------------- tests */

static void refused(uint32_t flags)
{
	struct cfs_leaser *late = join(&manager), *other;
	struct cfs_held *held = NULL, *more = NULL;
	struct party secondary = delegate("away");

	/* It knows the container and not that it has gone. */
	assert_int_equal(ask(late, away, flags, &held), -ECONNRESET);
	assert_null(held);
	assert_int_equal(leases_of(&manager), 0);
	/* Where it is it can be had, by one of them. */
	other = join(&secondary);
	assert_int_equal(ask(other, away, 0, &more), 0);
	assert_int_equal(
		cfs_leaser_reconnect(late, link_to(&secondary), &patient, NULL),
		0);
	assert_int_equal(ask(late, away, 0, &held), -EBUSY);
	cfs_leaser_release(more);
	assert_int_equal(ask(late, away, CFS_MSG_LOCK_WAIT, &held), 0);
	assert_int_equal(leases_of(&manager), 0);
	cfs_leaser_release(held);
	cfs_leaser_free(other, true);
	cfs_leaser_free(late, true);
	end(&secondary);
	end(&manager);
}

static void test_no_lease_where_it_is_away(void **state)
{
	(void)state;
	refused(0);
}

static void test_no_queue_where_it_is_away(void **state)
{
	(void)state;
	refused(CFS_MSG_LOCK_WAIT);
}

/*
 * Its lease went with the container, and it does not know: to the next manager
 * it is one of those who come back.  What it reclaims it has of whoever has the
 * container, and not of both.
 */
static void test_no_reclaim_where_it_is_away(void **state)
{
	struct cfs_leaser *late = join(&manager), *stays = join(&manager);
	struct cfs_held *held = NULL, *kept = NULL, *more = NULL;
	struct party secondary;

	(void)state;
	OK(ask(late, away, 0, &held));
	OK(ask(stays, home, 0, &kept));
	secondary = delegate("away");
	end(&manager);
	OK(cfs_session_open(pool_path, &options, &manager.s, &err));
	manager.serve = serve_on(manager.s);
	/* It is one who comes back, */
	OK(cfs_leaser_reconnect(stays, link_to(&manager), &patient, &err));
	OK(cfs_leaser_reconnect(late, link_to(&manager), &patient, &err));
	/* Behind what it reclaims. */
	assert_int_equal(ask(late, home, 0, &more), -ECONNRESET);
	assert_int_equal(leases_of(&manager), 0);
	/* and has all that it had. */
	OK(cfs_leaser_reconnect(late, link_to(&secondary), &patient, &err));
	UNTIL(leases_of(&secondary) == 1);
	cfs_leaser_release(kept);
	cfs_leaser_free(stays, true);
	stays = join(&secondary);
	assert_int_equal(ask(stays, away, 0, &more), -EBUSY);
	cfs_leaser_release(held);
	cfs_leaser_free(stays, true);
	cfs_leaser_free(late, true);
	/* Or it comes home behind that. */
	cfs_owner_end_grace(cfs_serve_lock(manager.serve));
	cfs_serve_unlock(manager.serve);
	end(&secondary);
	end(&manager);
}

/* Of others the manager is the owner, and of this one when it is home. */
static void test_others_and_behind_it(void **state)
{
	struct cfs_leaser *late = join(&manager);
	struct cfs_held *held = NULL;
	struct party secondary = delegate("away");

	(void)state;
	assert_int_equal(ask(late, home, 0, &held), 0);
	cfs_leaser_release(held);
	end(&secondary);
	assert_int_equal(ask(late, away, CFS_MSG_LOCK_WAIT, &held), 0);
	cfs_leaser_release(held);
	cfs_leaser_free(late, true);
	end(&manager);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_no_lease_where_it_is_away,
				       make_pool),
		cmocka_unit_test_setup(test_no_queue_where_it_is_away,
				       make_pool),
		cmocka_unit_test_setup(test_no_reclaim_where_it_is_away,
				       make_pool),
		cmocka_unit_test_setup(test_others_and_behind_it, make_pool),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
