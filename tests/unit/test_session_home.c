/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A container comes home: what its clients may still believe in is granted to
 * nobody else, and what its secondary may still write to is used by nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "away_fixture.h"
#include "session/lease.h"
#include "session/serve_delegate_priv.h"

/* Longer than the manager looks and settles things several times. */
#define LOOKS 15

static bool is_in_grace_of(uint64_t container)
{
	bool is = cfs_owner_is_in_grace_of(cfs_serve_lock(manager.serve),
					   container);

	cfs_serve_unlock(manager.serve);
	return is;
}

static void kept_from(struct cfs_leaser *other, uint64_t container)
{
	struct cfs_held *held = NULL;

	for (int i = 0; i < LOOKS; i++) {
		assert_int_equal(ask(other, container, 0, &held), -EBUSY);
		usleep(10000);
	}
}

/* Its state; 0: there is none. */
static int see_state(void *arg, const struct cfs_delegation *d,
		     struct cfs_err *e)
{
	(void)e;
	*(uint32_t *)arg = d->rec.state;
	return 0;
}

static uint32_t state_of_it(void)
{
	uint32_t state = 0;

	OK(cfs_pool_delegations(manager.s->pool, see_state, &state, &err));
	return state;
}

/* ---- leases -------------------------------------------------------------- */

/* Where the one secondary is. */
static struct cfs_link *link_there(uint64_t container)
{
	struct cfs_delegation d = { .container = 0 };
	struct cfs_address address;
	struct cfs_link *link;

	OK(cfs_pool_delegation_find(manager.s->pool, container, &d, &err));
	OK(cfs_address_parse(d.rec.address, &address, &err));
	OK(cfs_link_connect(&address, NULL, 30000, &link, &err));
	return link;
}

/* It comes back, and has what it had. */
static void reclaims(struct cfs_leaser *late, struct cfs_held *held,
		     struct cfs_leaser *other, uint64_t container)
{
	struct cfs_held *more = NULL;

	OK(cfs_leaser_reconnect(late, link_to(&manager), &patient, &err));
	kept_from(other, container);
	cfs_leaser_release(held);
	UNTIL(!is_in_grace_of(container));
	OK(ask(other, container, CFS_MSG_LOCK_WAIT, &more));
	cfs_leaser_release(more);
}

static void test_leases_of_one_that_returned(void **state)
{
	struct cfs_held *held = NULL;
	struct cfs_leaser *late, *other;
	struct party secondary;
	uint64_t id;

	(void)state;
	make_manager("600s");
	id = make_volume("lun", CFS_VOLUME_LUN);
	secondary = delegate("lun");
	late = join(&secondary);
	OK(ask(late, id, 0, &held));
	end(&secondary);
	other = join(&manager);
	kept_from(other, id);
	reclaims(late, held, other, id);
	cfs_leaser_free(late, true);
	cfs_leaser_free(other, true);
	end(&manager);
}

/* It could tell nobody who they are: all its time is theirs. */
static void test_leases_of_one_that_died(void **state)
{
	struct child secondary = child_new("lun");
	struct cfs_held *held = NULL;
	struct cfs_leaser *late, *other;
	uint64_t id;

	(void)state;
	make_manager("600s");
	id = make_volume("lun", CFS_VOLUME_LUN);
	child_serve(&secondary);
	late = join_over(link_there(id));
	OK(ask(late, id, 0, &held));
	child_kill(&secondary);
	UNTIL(!cfs_serve_delegate_is_away(manager.serve->delegate, id));
	other = join(&manager);
	kept_from(other, id);
	OK(cfs_leaser_reconnect(late, link_to(&manager), &patient, &err));
	kept_from(other, id);
	assert_true(is_in_grace_of(id));
	cfs_leaser_release(held);
	cfs_leaser_free(late, true);
	cfs_leaser_free(other, true);
	end(&manager);
}

/* Where the one secondary says that it is. */
static struct cfs_link *link_told(void)
{
	struct cfs_manager_infos owners = { CFS_VEC_INIT };
	struct cfs_manager_info info;
	struct cfs_address address;
	struct cfs_manager *m;
	struct cfs_link *link;

	OK(cfs_manager_find(pool_path, &options, &info, &err));
	OK(cfs_manager_connect(&info, "test", &options, 30000, &m, &err));
	OK(cfs_manager_owners(m, &info, &owners, &err));
	cfs_manager_close(m);
	assert_int_equal(owners.v.count, 1);
	OK(cfs_address_parse(owners.v.items[0].address, &address, &err));
	cfs_vec_done(&owners.v);
	OK(cfs_link_connect(&address, NULL, 30000, &link, &err));
	return link;
}

/* The container's id, and the pool's. */
static uint64_t look_at_lun(uint8_t ret_pool[16])
{
	const struct cfs_session_options asks = { .wait_seconds = 60 };
	struct cfs_volume_place place = { .container = 0 };
	struct cfs_session *s;

	OK(cfs_session_open(pool_path, &asks, &s, &err));
	OK(cfs_session_place_find(s, "lun", NULL, &place, &err));
	memcpy(ret_pool, cfs_remote_pool_uuid(s->remote), 16);
	OK(cfs_session_close(s, &err));
	return place.container;
}

/* That it had clients stands in the record alone. */
static void test_leases_when_both_died(void **state)
{
	struct child first = child_manager("600s", false);
	struct child secondary = child_new("lun");
	struct cfs_held *held = NULL;
	struct cfs_leaser *late, *other;
	uint8_t pool[16];
	uint64_t id;

	(void)state;
	child_serve(&first);
	child_serve(&secondary);
	id = look_at_lun(pool);
	late = join_pool(pool, link_told());
	OK(ask(late, id, 0, &held));
	child_kill(&first);
	child_kill(&secondary);
	OK(cfs_session_open(pool_path, &options, &manager.s, &err));
	manager.serve = serve_on(manager.s);
	UNTIL(!cfs_serve_delegate_is_away(manager.serve->delegate, id));
	other = join(&manager);
	kept_from(other, id);
	cfs_leaser_release(held);
	cfs_leaser_free(late, false);
	cfs_leaser_free(other, true);
	end(&manager);
}

/* ---- who may still write ------------------------------------------------- */

/* One that stands still has to be followed, and is not gone by that. */
static void test_silent_is_not_gone(void **state)
{
	struct child secondary = child_new("lun");

	(void)state;
	make_manager("1s");
	(void)make_volume("lun", CFS_VOLUME_LUN);
	child_serve(&secondary);
	kill(secondary.pid, SIGSTOP);
	UNTIL(state_of_it() != CFS_DELEGATION_HELD);
	for (int i = 0; i < LOOKS; i++) {
		assert_int_equal(state_of_it(), CFS_DELEGATION_SEALED);
		usleep(10000);
	}
	child_kill(&secondary);
	UNTIL(state_of_it() == 0);
	end(&manager);
}

static struct cfs_client_identity us(void)
{
	struct cfs_client_identity who = { .pid = 1 };
	struct cfs_identity self;

	memset(&self, 0, sizeof(self));
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	memcpy(who.boot_id, self.boot_id, sizeof(who.boot_id));
	snprintf(who.host, sizeof(who.host), "%s", self.host);
	memset(who.instance, 7, sizeof(who.instance));
	return who;
}

static bool is_gone(const struct cfs_client_identity *who, const char *named)
{
	return away_is_gone(manager.s, who, named);
}

static void test_who_is_gone(void **state)
{
	struct cfs_client_identity who;

	(void)state;
	make_manager("600s");
	/* Nobody has that mark on the devices. */
	who = us();
	assert_true(is_gone(&who, NULL));
	/* Booted anew since: it says nothing about other hosts. */
	who.boot_id[0] ^= 1;
	assert_true(is_gone(&who, NULL));
	strcpy(who.host, "another.example");
	assert_false(is_gone(&who, NULL));
	assert_false(is_gone(&who, "one.example two.example"));
	assert_true(is_gone(&who, "one.example another.example"));
	/* Not known. */
	who = us();
	memset(who.boot_id, 0, sizeof(who.boot_id));
	assert_false(is_gone(&who, NULL));
	end(&manager);
}

/* There marks are those of one host, of many. */
static void test_who_is_gone_where_many_are(void **state)
{
	struct cfs_client_identity who = us();

	(void)state;
	make_shared_manager("600s");
	assert_false(is_gone(&who, NULL));
	assert_true(is_gone(&who, who.host));
	who.boot_id[0] ^= 1;
	assert_true(is_gone(&who, NULL));
	end(&manager);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_is_gone),
		cmocka_unit_test(test_who_is_gone_where_many_are),
		cmocka_unit_test(test_leases_of_one_that_returned),
		cmocka_unit_test(test_leases_of_one_that_died),
		cmocka_unit_test(test_leases_when_both_died),
		cmocka_unit_test(test_silent_is_not_gone),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
