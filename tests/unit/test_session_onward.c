/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who works in a container by way of the manager, when that gets another owner:
 * what he has open stays so, there and back, and what was answered is lost only
 * where he is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "away_fixture.h"
#include "session/serve_onward.h"
#include "volume/pool_delegate.h"

#define BYTES 16384u

static uint64_t make_file(const struct peer *p, const char *name)
{
	struct cfs_fs *fs = cfs_io_fs(p->v);
	uint64_t ino = 0;

	OK(cfs_fs_create(fs, cfs_fs_root_ino(fs), name, strlen(name), 0644, 0,
			 0, &ino, &err));
	OK(cfs_fs_open_ino(fs, ino, &err));
	OK(cfs_fs_write(fs, ino, 0, "what is in it", 13, NULL, &err));
	return ino;
}

static void unlink_it(const struct peer *p, const char *name)
{
	struct cfs_fs *fs = cfs_io_fs(p->v);

	OK(cfs_fs_unlink(fs, cfs_fs_root_ino(fs), name, strlen(name), &err));
}

static void name_it(const struct peer *p, uint64_t ino, const char *name)
{
	struct cfs_fs *fs = cfs_io_fs(p->v);

	OK(cfs_fs_name(fs, ino, cfs_fs_root_ino(fs), name, strlen(name), &err));
}

static void is_in_it(const struct peer *p, uint64_t ino)
{
	char buf[14] = "";
	size_t bytes = 0;

	OK(cfs_fs_read(cfs_io_fs(p->v), ino, 0, buf, 13, &bytes, &err));
	assert_string_equal(buf, "what is in it");
}

/* ------------------------------------------------------------------- tests */

static void test_nameless_file_holds_it_up(void **state)
{
	struct party secondary = { .s = NULL };
	struct peer p;
	uint64_t ino;

	(void)state;
	make_manager("600s");
	(void)make_volume("t", CFS_VOLUME_TREE);
	p = peer_open("t");
	ino = make_file(&p, "f");
	unlink_it(&p, "f");
	assert_int_equal(try_delegate("t", 0, &secondary), -EBUSY);
	assert_non_null(strstr(err.msg, "which has a file open that has no "
					"name"));
	is_in_it(&p, ino);
	name_it(&p, ino, "g");
	secondary = delegate("t");
	is_in_it(&p, ino);
	end(&secondary);
	is_in_it(&p, ino);
	peer_close(&p);
	end(&manager);
}

/* What is open there has its name taken; it gets one while it is waited for,
 * and so comes home. */
static void test_nameless_file_is_waited_for(void **state)
{
	struct party secondary;
	pthread_t ending;
	struct peer p;
	uint64_t ino;

	(void)state;
	make_manager("600s");
	(void)make_volume("t", CFS_VOLUME_TREE);
	p = peer_open("t");
	ino = make_file(&p, "f");
	secondary = delegate("t");
	UNTIL(step_of_it() == SERVE_THERE);
	unlink_it(&p, "f");
	is_in_it(&p, ino);
	assert_int_equal(pthread_create(&ending, NULL, end_party, &secondary),
			 0);
	/* It has been tried, at least once. */
	UNTIL(step_of_it() != SERVE_THERE);
	is_in_it(&p, ino);
	name_it(&p, ino, "g");
	pthread_join(ending, NULL);
	is_in_it(&p, ino);
	assert_int_equal(step_of_it(), SERVE_HERE);
	peer_close(&p);
	p = peer_open("t");
	is_in_it(&p, ino);
	peer_close(&p);
	end(&manager);
}

/* Its secondary dies with what was written and not synced: whoever wrote it
 * must not go on as if it were there. */
static void test_loss_is_told(void **state)
{
	struct child secondary = child_new("lun");
	static char buf[BYTES];
	struct peer p;

	(void)state;
	make_manager("600s");
	(void)make_volume("lun", CFS_VOLUME_LUN);
	p = peer_open("lun");
	child_serve(&secondary);
	UNTIL(step_of_it() == SERVE_THERE);
	memset(buf, 'x', sizeof(buf));
	OK(cfs_io_write(p.v, 0, buf, sizeof(buf), &err));
	child_kill(&secondary);
	UNTIL(step_of_it() == SERVE_LOST || step_of_it() == SERVE_HERE);
	assert_int_equal(cfs_io_read(p.v, 0, buf, sizeof(buf), NULL, &err),
			 -ECONNRESET);
	assert_int_equal(cfs_io_sync(p.v, &err), -ECONNRESET);
	peer_close(&p);
	/* Others are not concerned. */
	p = peer_open("lun");
	OK(cfs_io_read(p.v, 0, buf, sizeof(buf), NULL, &err));
	peer_close(&p);
	end(&manager);
}

/* What was closed there for the way home is synced: that its secondary dies
 * behind that takes nothing away, and nobody has to be told. */
static void test_what_has_left_is_synced(void **state)
{
	struct child secondary = child_new("lun");
	static char buf[BYTES], got[BYTES];
	struct cfs_delegation d;
	struct peer p;
	uint64_t id;

	(void)state;
	make_manager("600s");
	id = make_volume("lun", CFS_VOLUME_LUN);
	p = peer_open("lun");
	child_serve(&secondary);
	UNTIL(step_of_it() == SERVE_THERE);
	memset(buf, 'x', sizeof(buf));
	OK(cfs_io_write(p.v, 0, buf, sizeof(buf), &err));
	OK(cfs_pool_delegation_find(manager.s->pool, id, &d, &err));
	cfs_onward_drain(manager.serve->rpc, id, d.epoch);
	assert_int_equal(step_of_it(), SERVE_AWAY);
	child_kill(&secondary);
	OK(cfs_io_read(p.v, 0, got, sizeof(got), NULL, &err));
	assert_memory_equal(got, buf, sizeof(buf));
	peer_close(&p);
	end(&manager);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nameless_file_holds_it_up),
		cmocka_unit_test(test_nameless_file_is_waited_for),
		cmocka_unit_test(test_loss_is_told),
		cmocka_unit_test(test_what_has_left_is_synced),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
