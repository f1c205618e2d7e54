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

#include "lease_fixture.h"
#include "session/secondary.h"
#include "session/serve.h"
#include "session/session_priv.h"

static char pool_path[128], run_path[128];

static const struct cfs_conn_wait patient = {
	.timeout_ns = 60 * CFS_NS_PER_S,
};

/* What a process has that others ask. */
struct party {
	struct cfs_session *s;
	struct cfs_serve *serve;
};

static struct party manager;
static uint64_t away, home; /* containers */

static const struct cfs_session_options options = {
	.is_writable = true,
	.must_hold = true,
	.wait_seconds = 60,
};

static struct cfs_serve *serve_on(struct cfs_session *s)
{
	const struct cfs_serve_options opt = { .run_directory = run_path };
	struct cfs_serve *serve = NULL;
	struct cfs_err err;

	if (cfs_serve_new(s, NULL, &serve, &err) < 0 ||
	    cfs_serve_start(serve, &opt, &err) < 0)
		fail_msg("%s", err.msg);
	return serve;
}

static uint64_t make_lun(const char *name)
{
	struct cfs_volume_place place = { .container = 0 };
	struct cfs_err err;

	if (cfs_session_create(manager.s, name, CFS_VOLUME_LUN, 1 << 20, 0,
			       false, &err) < 0 ||
	    cfs_session_place_find(manager.s, name, NULL, &place, &err) < 0)
		fail_msg("%s", err.msg);
	return place.container;
}

static int make_pool(void **state)
{
	const char *const device = pool_path;
	const struct cfs_format_options opt = {
		.devices = &device,
		.device_count = 1,
		.size_bytes = UINT64_C(128) << 20,
		.is_forced = true,
	};
	struct cfs_format_result result;
	struct cfs_err err;

	(void)state;
	snprintf(pool_path, sizeof(pool_path), "%s/pool.img", fixture_dir);
	snprintf(run_path, sizeof(run_path), "%s/run", fixture_dir);
	assert_int_equal(cfs_pool_format(&opt, &result, NULL), 0);
	if (cfs_session_open(pool_path, &options, &manager.s, &err) < 0)
		fail_msg("%s", err.msg);
	away = make_lun("away");
	home = make_lun("home");
	manager.serve = serve_on(manager.s);
	return 0;
}

static void end(struct party *p)
{
	cfs_serve_free(p->serve);
	assert_int_equal(cfs_session_close(p->s, NULL), 0);
}

/* The container is its own from now on. */
static struct party delegate(void)
{
	const struct cfs_secondary_options own = { .arg = NULL };
	struct party p = { .s = NULL };
	struct cfs_err err;

	if (cfs_secondary_open(pool_path, "away", &options, &own, &p.s, &err) <
	    0)
		fail_msg("%s", err.msg);
	p.serve = serve_on(p.s);
	return p;
}

static struct cfs_link *link_to(const struct party *p)
{
	struct cfs_address address;
	struct cfs_link *link;

	assert_int_equal(
		cfs_address_parse(cfs_serve_address(p->serve), &address, NULL),
		0);
	assert_int_equal(cfs_link_connect(&address, NULL, 30000, &link, NULL),
			 0);
	return link;
}

static struct cfs_leaser *join(const struct party *p)
{
	struct cfs_lease_client_config config = {
		.hello = { .host = "host", .name = "test", .pid = 1 },
	};
	struct cfs_leaser *leaser = NULL;
	struct cfs_err err;

	memcpy(config.hello.pool_uuid,
	       cfs_devset_label(manager.s->set, 0)->pool_uuid, 16);
	if (cfs_leaser_connect(link_to(p), &config, NULL, &patient, &leaser,
			       &err) < 0)
		fail_msg("%s", err.msg);
	return leaser;
}

static int ask(struct cfs_leaser *leaser, uint64_t container, uint32_t flags,
	       struct cfs_held **ret)
{
	const struct cfs_lease_request req = {
		.resource = {
			.container = container, .volume = 1,
			.length_bytes = CFS_LOCK_LENGTH_WHOLE,
		},
		.mode = CFS_LOCK_X,
		.flags = flags,
	};

	return cfs_leaser_acquire(leaser, &req, &patient, ret, NULL);
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
	struct party secondary = delegate();

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

/* Of others the manager is the owner, and of this one when it is home. */
static void test_others_and_behind_it(void **state)
{
	struct cfs_leaser *late = join(&manager);
	struct cfs_held *held = NULL;
	struct party secondary = delegate();

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
		cmocka_unit_test_setup(test_others_and_behind_it, make_pool),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
